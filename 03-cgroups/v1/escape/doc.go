// Package escape holds the release_agent escape of cgroup v1, as a test: how a
// container that is root in everything but name runs a program on the host,
// and what in a container of chapter 2 makes it fail (CVE-2022-0492).
//
// The kernel starts a release agent by itself, as root, in the namespaces of
// the machine. No namespace of a test's own holds that, so the attack runs only
// on a kernel that is thrown away afterwards: User-Mode Linux, or where the
// environment variable DRYDOCK_DISPOSABLE_KERNEL=1 says so. The defence is tested
// everywhere.
package escape
