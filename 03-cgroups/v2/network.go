//go:build linux

package v2

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// v1's net_cls and net_prio wrote a number on each socket of a cgroup. On v2
// there is neither: a program is run at each socket(2) and may write two numbers
// on the new socket, which its packets then carry. The class becomes the
// packets' mark (SO_MARK in socket(7)), which nftables (meta mark), tc(8) (its fw
// filter) and routing rules (fwmark) read; the priority becomes theirs
// (SO_PRIORITY), by which queueing disciplines sort.
//
// A mark has no interface and a new socket has none either, so the priority is
// one for all: a list that gives interfaces different ones is refused.

// Offsets in struct bpf_sock (linux/bpf.h).
const (
	sockMark     = 16
	sockPriority = 20
)

// socketProgram writes the class and the priority that are not 0.
func socketProgram(class, priority uint32) []instruction {
	const value = 2 // register
	var program []instruction
	for _, field := range []struct {
		offset int16
		value  uint32
	}{{sockMark, class}, {sockPriority, priority}} {
		if field.value != 0 {
			program = append(program,
				instruction{movImm, value, 0, int32(field.value)},
				instruction{storeW, registers(ctxReg, value), field.offset, 0})
		}
	}
	return append(program, instruction{movImm, result, 0, 1}, instruction{exit, 0, 0, 0})
}

// setNetwork replaces the program that writes r's class and priority; the two
// are given together. Sockets that are open already keep what they have.
func (c *Cgroup) setNetwork(ctx context.Context, r *specs.LinuxResources) error {
	n := r.Network
	if n == nil || n.ClassID == nil && len(n.Priorities) == 0 {
		return nil
	}
	var class, priority uint32
	if n.ClassID != nil {
		class = *n.ClassID
	}
	for i, p := range n.Priorities {
		if i > 0 && p.Priority != priority {
			return errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("network priority %d of %s and %d of %s: on cgroup v2 a socket has one for all interfaces: give each the same", priority, n.Priorities[i-1].Name, p.Priority, p.Name))
		}
		priority = p.Priority
	}
	err := c.attach(ctx, program{
		kind: unix.BPF_PROG_TYPE_CGROUP_SOCK, kindName: "BPF_PROG_TYPE_CGROUP_SOCK",
		hook: unix.BPF_CGROUP_INET_SOCK_CREATE, hookName: "BPF_CGROUP_INET_SOCK_CREATE",
		instructions: socketProgram(class, priority),
		why:          "network class and priority, as a program that writes both on a socket",
		asked:        "the program is run at every socket(2) in this cgroup",
	})
	if err != nil {
		return fmt.Errorf("network class and priority for %s: %w", c.dir, err)
	}
	return nil
}
