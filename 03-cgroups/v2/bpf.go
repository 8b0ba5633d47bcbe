//go:build linux

package v2

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Some of what v1 has files for is a program on v2: instructions for the
// kernel's virtual machine (bpf(2)), attached to the cgroup's directory and run
// at one place in the kernel. This file loads and attaches; devices.go and
// network.go write the programs.

// instruction is struct bpf_insn: 8 bytes.
type instruction struct {
	code      uint8
	registers uint8 // source << 4 | destination
	offset    int16
	immediate int32
}

// The registers whose use the kernel prescribes.
const (
	result = 0 // what the program returns: 1 allows, 0 refuses
	ctxReg = 1 // at the start: what the program is asked about
)

func registers(dst, src uint8) uint8 { return src<<4 | dst }

const (
	andImm  = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	rshImm  = unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K
	movImm  = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K
	movReg  = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_X
	loadW   = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W
	storeW  = unix.BPF_STX | unix.BPF_MEM | unix.BPF_W
	jumpNot = unix.BPF_JMP32 | unix.BPF_JNE | unix.BPF_K
	jumpIs  = unix.BPF_JMP32 | unix.BPF_JEQ | unix.BPF_K
	exit    = unix.BPF_JMP | unix.BPF_EXIT
)

// program is what is run at one place (hook) in the kernel, with the names that
// strace prints and the reasons for --explain.
type program struct {
	kind, hook         uint32
	kindName, hookName string
	instructions       []instruction
	why, asked         string
}

// attach attaches p to the cgroup and detaches what was there before. The
// kernel holds it as long as the cgroup exists: no descriptor stays.
func (c *Cgroup) attach(ctx context.Context, p program) error {
	dir, err := unix.Open(c.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: c.dir, Err: err}
	}
	defer unix.Close(dir)
	old, err := attached(dir, p.hook)
	if err != nil {
		return err
	}

	license := []byte("Apache-2.0\x00")
	// The kernel follows these addresses: what they name must not move.
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(&p.instructions[0])
	pinned.Pin(&license[0])
	load := struct {
		kind, count       uint32
		instructions      uint64
		license           uint64
		logLevel, logSize uint32
		log               uint64
		version, flags    uint32
		name              [16]byte
		ifindex, hook     uint32
	}{
		kind: p.kind, count: uint32(len(p.instructions)),
		instructions: uint64(uintptr(unsafe.Pointer(&p.instructions[0]))),
		license:      uint64(uintptr(unsafe.Pointer(&license[0]))),
		hook:         p.hook,
	}
	chapter.Call(ctx, p.why, "bpf(BPF_PROG_LOAD, {prog_type=%s, insn_cnt=%d})", p.kindName, len(p.instructions))
	fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&load), unsafe.Sizeof(load))
	if err != nil {
		return fmt.Errorf("load the program (%d instructions): %w", len(p.instructions), err)
	}
	defer unix.Close(fd)

	a := attachment{target: uint32(dir), program: uint32(fd), hook: p.hook, flags: unix.BPF_F_ALLOW_MULTI}
	chapter.Call(ctx, p.asked, "bpf(BPF_PROG_ATTACH, {target_fd=<%s>, attach_type=%s})", c.dir, p.hookName)
	if _, err := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&a), unsafe.Sizeof(a)); err != nil {
		return fmt.Errorf("attach the program: %w", err)
	}
	// All attached programs must agree, so what is allowed is never looser than
	// either of the two while the old one is still there.
	for _, id := range old {
		if err := detach(ctx, dir, id, p); err != nil {
			return err
		}
	}
	return nil
}

// attachment is the part of union bpf_attr that BPF_PROG_ATTACH and
// BPF_PROG_DETACH read.
type attachment struct {
	target, program, hook, flags uint32
}

// attached returns the IDs of the programs of a hook that are attached to a
// cgroup.
func attached(dir int, hook uint32) ([]uint32, error) {
	ids := make([]uint32, 64) // the kernel's own limit for one cgroup
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(&ids[0])
	query := struct {
		target, hook, flags, attachFlags uint32
		ids                              uint64
		count, _                         uint32
	}{
		target: uint32(dir), hook: hook,
		ids: uint64(uintptr(unsafe.Pointer(&ids[0]))), count: uint32(len(ids)),
	}
	_, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&query), unsafe.Sizeof(query))
	if err != nil {
		return nil, os.NewSyscallError("bpf(BPF_PROG_QUERY)", err)
	}
	return ids[:query.count], nil
}

func detach(ctx context.Context, dir int, id uint32, p program) error {
	get := struct{ id, next, flags uint32 }{id: id}
	fd, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&get), unsafe.Sizeof(get))
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("bpf(BPF_PROG_GET_FD_BY_ID)", err)
	}
	defer unix.Close(fd)
	a := attachment{target: uint32(dir), program: uint32(fd), hook: p.hook}
	chapter.Call(ctx, "the program before this one ends", "bpf(BPF_PROG_DETACH, {target_fd=%d, attach_bpf_fd=%d, attach_type=%s})", dir, fd, p.hookName)
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
