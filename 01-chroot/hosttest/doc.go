// Package hosttest keeps the host as it was while tests change a kernel.
//
// A package whose tests mount, clone or make cgroups hands its tests over:
//
//	func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }
//
// Run starts the test binary twice more. The first stage takes a snapshot of
// the host and waits. The second is process 1 of new mount, PID, network, UTS,
// IPC and cgroup namespaces: it mounts a /proc, a /sys, the cgroup hierarchies
// and a /run of its own, brings lo up, and starts the third stage, the tests.
// When they end it names what they left behind (processes, mounts, links,
// addresses, routes, nftables rules, cgroups), removes it, and makes the run
// fail. Then the first stage compares the host with its snapshot.
//
// A run that is killed leaves nothing either: the second stage holds a pipe
// from the first, and when that closes it kills its PID namespace, removes the
// cgroups and the scratch directory, and ends. Should both be killed at once,
// the next run removes both.
//
// The package is for tests only. It is no security boundary: the tests are root
// on the host's disk, in the host's user namespace, and see the host's devices.
package hosttest
