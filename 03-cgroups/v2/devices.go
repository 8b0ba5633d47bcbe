//go:build linux

package v2

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// v2 has no devices.allow: a small program of ours, attached to the cgroup,
// is asked at each open(2) and mknod(2) of a device (cgroup-v2.rst, "Device
// controller"). This file translates the specification's list of rules into
// that program and hands it to the kernel.

// The program's further registers. r1 holds struct bpf_cgroup_dev_ctx at the
// start: {access << 16 | type, major, minor}, 32 bits each.
const (
	kind    = 2 // block or char
	wanted  = 3 // the bits of read, write, mknod that no rule has decided yet
	major   = 4
	minor   = 5
	scratch = 6
)

const everything = unix.BPF_DEVCG_ACC_MKNOD | unix.BPF_DEVCG_ACC_READ | unix.BPF_DEVCG_ACC_WRITE

// deviceProgram translates rules, of which the last that names a device
// decides, so it begins at the end of the list. A rule may decide some of the
// bits that are asked for (open for reading and writing asks for two); the rest
// go on to the rules before it. What no rule decides is allowed, as in a cgroup
// without a program.
func deviceProgram(rules []specs.LinuxDeviceCgroup) ([]instruction, error) {
	program := []instruction{
		{loadW, registers(kind, ctxReg), 0, 0},
		{movReg, registers(wanted, kind), 0, 0},
		{andImm, kind, 0, 0xffff},
		{rshImm, wanted, 0, 16},
		{loadW, registers(major, ctxReg), 4, 0},
		{loadW, registers(minor, ctxReg), 8, 0},
	}
	answer := func(allow int32) []instruction {
		return []instruction{{movImm, result, 0, allow}, {exit, 0, 0, 0}}
	}
	for i := len(rules) - 1; i >= 0; i-- {
		rule := rules[i]
		access, err := accessBits(rule)
		if err != nil {
			return nil, err
		}
		// Each condition jumps over the rest of its rule; the length is known
		// when the rule is complete.
		var code []instruction
		var conditions []int
		unless := func(op, register uint8, value int64) {
			conditions = append(conditions, len(code))
			code = append(code, instruction{op, register, 0, int32(value)})
		}
		switch rule.Type {
		case "c", "u":
			unless(jumpNot, kind, unix.BPF_DEVCG_DEV_CHAR)
		case "b":
			unless(jumpNot, kind, unix.BPF_DEVCG_DEV_BLOCK)
		case "a", "":
		default:
			return nil, errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("device rule: type %q is none of a, b, c, u", rule.Type))
		}
		if rule.Major != nil && *rule.Major >= 0 {
			unless(jumpNot, major, *rule.Major)
		}
		if rule.Minor != nil && *rule.Minor >= 0 {
			unless(jumpNot, minor, *rule.Minor)
		}
		final := len(conditions) == 0 && access == everything
		if rule.Allow {
			code = append(code, instruction{andImm, wanted, 0, ^access})
			if !final {
				unless(jumpNot, wanted, 0)
			}
			code = append(code, answer(1)...)
		} else {
			if !final {
				code = append(code, instruction{movReg, registers(scratch, wanted), 0, 0}, instruction{andImm, scratch, 0, access})
				unless(jumpIs, scratch, 0)
			}
			code = append(code, answer(0)...)
		}
		for _, at := range conditions {
			code[at].offset = int16(len(code) - at - 1)
		}
		program = append(program, code...)
		if final {
			return program, nil // what comes before it cannot be reached, which the kernel would refuse
		}
	}
	return append(program, answer(1)...), nil
}

func accessBits(rule specs.LinuxDeviceCgroup) (int32, error) {
	if rule.Access == "" {
		return everything, nil
	}
	var bits int32
	for _, c := range rule.Access {
		switch c {
		case 'r':
			bits |= unix.BPF_DEVCG_ACC_READ
		case 'w':
			bits |= unix.BPF_DEVCG_ACC_WRITE
		case 'm':
			bits |= unix.BPF_DEVCG_ACC_MKNOD
		default:
			return 0, errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("device rule: access %q: only r, w and m are known", rule.Access))
		}
	}
	return bits, nil
}

// setDevices replaces the program of the rules before by that of r's.
func (c *Cgroup) setDevices(ctx context.Context, r *specs.LinuxResources) error {
	if len(r.Devices) == 0 {
		return nil
	}
	instructions, err := deviceProgram(r.Devices)
	if err != nil {
		return err
	}
	err = c.attach(ctx, program{
		kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, kindName: "BPF_PROG_TYPE_CGROUP_DEVICE",
		hook: unix.BPF_CGROUP_DEVICE, hookName: "BPF_CGROUP_DEVICE",
		instructions: instructions,
		why:          "the device rules, translated into a program that the kernel checks",
		asked:        "the program is asked at every open of a device in this cgroup",
	})
	if err != nil {
		return fmt.Errorf("device rules for %s: %w", c.dir, err)
	}
	return nil
}
