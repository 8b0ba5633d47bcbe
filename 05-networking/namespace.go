//go:build linux

package networking

import (
	"context"
	"fmt"
	"os"
	"runtime"

	explain "drydock.example/01-chroot/explain"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const chapter explain.Chapter = 5

// threadNamespace is the network namespace of the calling thread. A namespace
// belongs to a thread, not to a process: /proc/self would be the main thread's.
const threadNamespace = "/proc/thread-self/ns/net"

// NewNamespace makes a network namespace in which nothing but a loopback
// device is, and that one up. No process is in it and it has no name: the
// descriptor alone keeps it alive, and with the last descriptor and the last
// process it goes, and every link in it too.
//
// Undo: close the descriptor.
func NewNamespace(ctx context.Context) (*os.File, error) {
	type result struct {
		ns  *os.File
		err error
	}
	done := make(chan result)
	go func() {
		ns, err := unshareNamespace(ctx)
		done <- result{ns, err}
	}()
	r := <-done
	return r.ns, r.err
}

// unshareNamespace moves its thread into a new namespace and back. It must run
// on a goroutine of its own: when the way back fails the thread is left locked,
// and Go ends it together with the goroutine, so that no other goroutine ever
// wakes up in a namespace that it did not choose. Going back is preferred to
// ending the thread every time because the main thread cannot end: Go would
// park it, in the new namespace, for as long as the process lives.
func unshareNamespace(ctx context.Context) (ns *os.File, err error) {
	runtime.LockOSThread()
	host, err := os.Open(threadNamespace)
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer host.Close()

	chapter.Call(ctx, "a network stack of its own: links, addresses, routes, ports, rules", "unshare(CLONE_NEWNET)")
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("a new network namespace: %w", os.NewSyscallError("unshare", err))
	}
	defer func() {
		if e := unix.Setns(int(host.Fd()), unix.CLONE_NEWNET); e != nil {
			if ns != nil {
				ns.Close()
			}
			ns, err = nil, fmt.Errorf("back to the host's network namespace: %w", os.NewSyscallError("setns", e))
			return
		}
		runtime.UnlockOSThread()
	}()

	chapter.Call(ctx, "the descriptor keeps the namespace alive", "open(%q, O_RDONLY|O_CLOEXEC)", threadNamespace)
	if ns, err = os.Open(threadNamespace); err != nil {
		return nil, err
	}
	if err := loopbackUp(ctx); err != nil {
		ns.Close()
		return nil, err
	}
	return ns, nil
}

// loopbackUp sets the calling thread's loopback device up. In a new namespace
// it is there, always with index 1, and down: even 127.0.0.1 does not answer.
func loopbackUp(ctx context.Context) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	chapter.Call(ctx, "so that 127.0.0.1 answers in there", `sendto(NETLINK_ROUTE, RTM_NEWLINK ifname="lo" flags=IFF_UP)`)
	lo := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "lo", Index: 1}}
	if err := h.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}
