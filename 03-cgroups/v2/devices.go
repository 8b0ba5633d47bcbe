//go:build linux

package v2

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// v2 has no devices.allow: a small program of ours, attached to the cgroup,
// is asked at each open(2) and mknod(2) of a device (cgroup-v2.rst, "Device
// controller"). This file translates the specification's list of rules into
// that program and hands it to the kernel.

// instruction is struct bpf_insn: 8 bytes.
type instruction struct {
	code      uint8
	registers uint8 // source << 4 | destination
	offset    int16
	immediate int32
}

// The registers of the program. r1 holds struct bpf_cgroup_dev_ctx at the
// start: {access << 16 | type, major, minor}, 32 bits each.
const (
	result  = 0
	ctxReg  = 1
	kind    = 2 // block or char
	wanted  = 3 // the bits of read, write, mknod that no rule has decided yet
	major   = 4
	minor   = 5
	scratch = 6
)

const (
	andImm  = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	rshImm  = unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K
	movImm  = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K
	movReg  = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_X
	loadW   = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W
	jumpNot = unix.BPF_JMP32 | unix.BPF_JNE | unix.BPF_K
	jumpIs  = unix.BPF_JMP32 | unix.BPF_JEQ | unix.BPF_K
	exit    = unix.BPF_JMP | unix.BPF_EXIT
)

const everything = unix.BPF_DEVCG_ACC_MKNOD | unix.BPF_DEVCG_ACC_READ | unix.BPF_DEVCG_ACC_WRITE

// deviceProgram translates rules, of which the last that names a device
// decides, so it begins at the end of the list. A rule may decide some of the
// bits that are asked for (open for reading and writing asks for two); the rest
// go on to the rules before it. What no rule decides is allowed, as in a cgroup
// without a program.
func deviceProgram(rules []specs.LinuxDeviceCgroup) ([]instruction, error) {
	registers := func(dst, src uint8) uint8 { return src<<4 | dst }
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

// setDevices attaches the program of r's rules and detaches those that were
// there. The kernel holds it as long as the cgroup exists: no descriptor stays.
func (c *Cgroup) setDevices(ctx context.Context, r *specs.LinuxResources) error {
	if len(r.Devices) == 0 {
		return nil
	}
	program, err := deviceProgram(r.Devices)
	if err != nil {
		return err
	}
	dir, err := unix.Open(c.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: c.dir, Err: err}
	}
	defer unix.Close(dir)
	old, err := attachedPrograms(dir)
	if err != nil {
		return err
	}

	license := []byte("Apache-2.0\x00")
	// The kernel follows these addresses: what they name must not move.
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(&program[0])
	pinned.Pin(&license[0])
	load := struct {
		kind, count       uint32
		instructions      uint64
		license           uint64
		logLevel, logSize uint32
		log               uint64
	}{
		kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, count: uint32(len(program)),
		instructions: uint64(uintptr(unsafe.Pointer(&program[0]))),
		license:      uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	chapter.Call(ctx, "the device rules, translated into a program that the kernel checks",
		"bpf(BPF_PROG_LOAD, {prog_type=BPF_PROG_TYPE_CGROUP_DEVICE, insn_cnt=%d})", len(program))
	fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&load), unsafe.Sizeof(load))
	if err != nil {
		return fmt.Errorf("device rules for %s: load the program (%d instructions): %w", c.dir, len(program), err)
	}
	defer unix.Close(fd)

	attach := attachment{target: uint32(dir), program: uint32(fd), kind: unix.BPF_CGROUP_DEVICE, flags: unix.BPF_F_ALLOW_MULTI}
	chapter.Call(ctx, "the program is asked at every open of a device in this cgroup",
		"bpf(BPF_PROG_ATTACH, {target_fd=<%s>, attach_type=BPF_CGROUP_DEVICE})", c.dir)
	if _, err := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attach), unsafe.Sizeof(attach)); err != nil {
		return fmt.Errorf("device rules for %s: attach the program: %w", c.dir, err)
	}
	// All attached programs must agree, so the new rules are never looser than
	// both lists while the old program is still there.
	for _, id := range old {
		if err := detach(ctx, dir, id); err != nil {
			return fmt.Errorf("device rules for %s: %w", c.dir, err)
		}
	}
	return nil
}

// attachment is the part of union bpf_attr that BPF_PROG_ATTACH and
// BPF_PROG_DETACH read.
type attachment struct {
	target, program, kind, flags uint32
}

// attachedPrograms returns the IDs of the device programs attached to a cgroup.
func attachedPrograms(dir int) ([]uint32, error) {
	ids := make([]uint32, 64) // the kernel's own limit for one cgroup
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(&ids[0])
	query := struct {
		target, kind, flags, attachFlags uint32
		ids                              uint64
		count, _                         uint32
	}{
		target: uint32(dir), kind: unix.BPF_CGROUP_DEVICE,
		ids: uint64(uintptr(unsafe.Pointer(&ids[0]))), count: uint32(len(ids)),
	}
	_, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&query), unsafe.Sizeof(query))
	if err != nil {
		return nil, os.NewSyscallError("bpf(BPF_PROG_QUERY)", err)
	}
	return ids[:query.count], nil
}

func detach(ctx context.Context, dir int, id uint32) error {
	get := struct{ id, next, flags uint32 }{id: id}
	fd, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&get), unsafe.Sizeof(get))
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("bpf(BPF_PROG_GET_FD_BY_ID)", err)
	}
	defer unix.Close(fd)
	a := attachment{target: uint32(dir), program: uint32(fd), kind: unix.BPF_CGROUP_DEVICE}
	chapter.Call(ctx, "the rules before these end", "bpf(BPF_PROG_DETACH, {target_fd=%d, attach_bpf_fd=%d, attach_type=BPF_CGROUP_DEVICE})", dir, fd)
	if _, err := bpf(unix.BPF_PROG_DETACH, unsafe.Pointer(&a), unsafe.Sizeof(a)); err != nil {
		return os.NewSyscallError("bpf(BPF_PROG_DETACH)", err)
	}
	return nil
}

func bpf(command int, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(command), uintptr(attr), size)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR, unix.EAGAIN: // the verifier was interrupted
		default:
			return 0, errno
		}
	}
}
