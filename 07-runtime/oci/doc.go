// Package oci is the OCI runtime: it makes a container of a bundle, a
// directory with a root file system and a config.json, and takes it through
// its life, creating, created, running, stopped (runtime-spec 1.3, runtime.md).
// Isolation is chapter 2's, limits are chapter 3's; what is added here is the
// life: who is in which state, what may be done in it, and what of it must be
// known to the next invocation of a program that ends between any two steps.
//
// A [Runtime] is a directory that has, for each container, a directory with
// two files:
//
//	ROOT/ID/state.json   what the container is; complete or absent
//	ROOT/ID/exec.fifo    exists from created to running: whoever writes a byte starts the container
//
// Everything else is asked of the kernel: a container is stopped when the
// process with its pid and that process's start time is gone.
//
// Two invocations at once are kept apart by a lock (flock(2)) on ROOT/ID. An
// invocation that is killed, at any instant, leaves a container that can be
// deleted with force: what a cgroup holds is written down before the cgroup is
// made, and the process that waits in it dies when its creator does.
//
// # What is not safe
//
// A bundle is trusted: config.json may name any program of the host as a hook,
// and any file of the host as a mount. The root file system is not.
package oci
