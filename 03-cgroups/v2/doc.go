// Package v2 makes, limits and removes a cgroup in the unified hierarchy: one
// tree, in which each directory switches on the controllers of its children
// (cgroup.subtree_control). It is written against the kernel's
// Documentation/admin-guide/cgroup-v2.rst, named "cgroup-v2.rst" below.
//
// What v2 gives to a container engine that v1 cannot: a process may be born
// inside its cgroup ([Cgroup.Dir]), a whole tree dies with one write
// ([Cgroup.Kill]), and the kernel says when a cgroup becomes empty or frozen,
// so that nothing here asks twice.
//
// Limits of the OCI specification that v2 has no file for (kernel memory,
// real-time scheduling, swappiness, oom_control, network classes) are refused
// with an error of kind FailedPrecondition when they ask for something, never
// passed over in silence.
package v2
