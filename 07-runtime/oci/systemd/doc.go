// Package systemd has systemd make a container's cgroup.
//
// Where systemd is process 1 it owns the tree of cgroups, and expects others to
// ask it for a part (systemd.io/CGROUP_DELEGATION). The part is a unit: a scope,
// which holds processes that systemd did not start, in a slice, which holds
// units. It is asked for over D-Bus (org.freedesktop.systemd1(5)), by
// StartTransientUnit with the limits as properties, and exists when the job that
// the call returns is done. What systemd has no property for is written to the
// cgroup's files, as without it: the scope is delegated.
//
// # What is not safe
//
// A limit that is set behind systemd's back lasts until systemd applies the
// unit's properties again (systemctl daemon-reload): that is why those that
// have a property are set in both places.
package systemd
