// Package namespaces starts a process that has its own view of the machine.
//
// A namespace wraps one kind of global resource (the mount table, the process
// ids, the host name, the network …) so that the processes inside see an
// instance of their own (namespaces(7)). A container is a process that was
// born in several of them at once, with another directory as its root.
//
// The container is described by the data type that all engines share, the
// config of the OCI runtime specification (specs.Spec). [Create] turns it into
// a process that is complete but for one thing: it waits before execve(2).
// [Process.Start] lets it go on. In the gap between the two, others do their
// part from outside: chapter 3 puts the process into a cgroup, chapter 5 plugs
// in a network cable, chapter 7 runs hooks.
//
// A Go program cannot do this by fork(2): its runtime has threads, and a
// forked child has only the one that called. So Create executes the program's
// own file again, in new namespaces, and there this package's own init takes
// over, before main: to import the package is enough. What it does before the
// user's program runs is one list, steps in init.go, to be read from top to bottom.
//
// [Exec] starts a further process in a container that runs. It does fork, as
// only a process with one thread may enter a user namespace: fork.go says how a
// Go program can.
//
// Linux 5.12 or newer is needed: the mounts are made by descriptors
// (open_tree(2), move_mount(2), mount_setattr(2), openat2(2)), so that no
// symbolic link in a hostile root file system can lead one astray.
//
// # What is not safe
//
//   - Without a user namespace, root inside is root: what keeps it in are the
//     capabilities it lacks and the paths that are masked, no more. A spec that
//     grants CAP_SYS_ADMIN hands over the host.
//   - A spec without a mount namespace gets chroot(2) only, and chapter 1 shows
//     the way out of that.
//   - A spec without a PID namespace leaves the container's descendants to the
//     host when its first process dies: kill its cgroup (chapter 3).
//   - A process of Exec has all the caller's capabilities, in the container's PID
//     namespace, for the millisecond before it drops them. Who has
//     CAP_SYS_PTRACE and no user namespace in there can take it over.
//   - Namespaces limit what is seen, not how much is used. That is chapter 3.
package namespaces
