// Package cgroups gives a group of processes limits: memory, CPU, the number of
// tasks, devices, I/O.
//
// A cgroup is a directory. To make one is mkdir(2), a limit is a number written
// to a file in it, a process enters it by its number, and everything that the
// process forks is inside as well. The kernel has two ways to arrange those
// directories, one tree for each controller (v1) or one for all (v2), and some
// hosts have both (hybrid). Packages v1 and v2 each know one; this package asks
// the mount table which of them counts and speaks the OCI runtime
// specification's terms to it:
//
//	c, err := cgroups.Create(ctx, "/drydock/box", &specs.LinuxResources{…})
//	err = c.Spawn(ctx, func(dir *os.File) error { /* clone, into dir */ })
//	…
//	err = c.Kill(ctx)
//	err = c.Delete(ctx)
//
// The order is the point. Limits are there before the first process is, and the
// process is born inside: between a fork and a later move it could have
// forked, or have taken memory that no move carries along.
//
// What is not safe about it:
//
//   - A cgroup limits what a process uses, not what it may do. Root in a
//     container that sees a writable cgroup file system lifts its own limits,
//     and on v1 escapes to the host by release_agent: mount it read-only, and
//     leave CAP_SYS_ADMIN out (chapter 2).
//   - A pids limit counts tasks, threads included, and does not stop anyone
//     from filling memory with tmpfs files, which stay charged after their
//     writer has died.
//   - Without a memory+swap limit a memory limit ends in swap, not in a kill.
//   - Two engines that use one path fight over one cgroup: Create refuses a
//     path with processes in it, and cannot see one that is about to get some.
//   - Delete kills nobody, and waits as long as its context lives.
package cgroups
