// Package v1 makes, limits and removes a container's cgroups in the hierarchies
// of cgroup v1: one tree for each controller (or for a few mounted together),
// with the same path in all of them. It is written against the kernel's
// Documentation/admin-guide/cgroup-v1/.
//
// What hurts in v1, and what is done about it here:
//   - A process has to be moved into each tree, and the first move of a process
//     costs 5 to 20 milliseconds, because the kernel waits until no thread of
//     the machine is in a fork or an exit. A thread may move itself without
//     that wait: [Cgroup.Tasks]. And what it forks is born where it stands:
//     [Cgroup.Spawn].
//   - The trees do not know of each other: a process may be in one and not yet
//     in the next. Spawn closes that gap, Enter cannot.
//   - There is no event for "empty" that a program can wait for (release_agent
//     is a program that the kernel runs as root in the host's namespaces, which
//     is how containers were escaped from: CVE-2022-0492). So Delete asks again,
//     at growing intervals.
//   - There is no way to kill a tree at once: Kill freezes, kills one by one,
//     and thaws.
package v1
