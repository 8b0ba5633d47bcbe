//go:build linux

// Package seccomptest says what a filter answers to a system call, in two ways
// that have nothing in common: [Run] runs its program as the kernel would, and
// [Decide] reads the profile.
package seccomptest

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/02-namespaces/seccomp"
)

// Data is struct seccomp_data: what a filter sees of a system call.
type Data struct {
	Number uint32
	Arch   uint32 // AUDIT_ARCH_…
	IP     uint64
	Args   [6]uint64
}

// Run runs a filter's program and returns its answer, SECCOMP_RET_…, and how
// many instructions that took. An error is a program that the kernel would not load.
func Run(f *seccomp.Filter, d Data) (answer uint32, steps int, err error) {
	data, err := binary.Append(nil, binary.NativeEndian, d)
	if err != nil {
		return 0, 0, err
	}
	code := make([]unix.SockFilter, f.Len())
	if _, err := binary.Decode(f.Program, binary.NativeEndian, code); err != nil {
		return 0, 0, err
	}
	var a uint32
	for pc := 0; pc < len(code); steps++ {
		i := code[pc]
		pc++
		var holds bool
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			if i.K%4 != 0 || int(i.K)+4 > len(data) {
				return 0, steps, fmt.Errorf("instruction %d loads from offset %d", pc-1, i.K)
			}
			a = binary.NativeEndian.Uint32(data[i.K:])
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= i.K
			continue
		case unix.BPF_RET | unix.BPF_K:
			return i.K, steps + 1, nil
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(i.K)
			continue
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			holds = a == i.K
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			holds = a > i.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			holds = a >= i.K
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			holds = a&i.K != 0
		default:
			return 0, steps, fmt.Errorf("instruction %d is %#x", pc-1, i.Code)
		}
		if holds {
			pc += int(i.Jt)
		} else {
			pc += int(i.Jf)
		}
	}
	return 0, steps, fmt.Errorf("the program goes on behind its end")
}

// audits are the AUDIT_ARCH_… of the architectures that have numbers here.
var audits = map[specs.Arch]uint32{
	specs.ArchX86_64: unix.AUDIT_ARCH_X86_64, specs.ArchX32: unix.AUDIT_ARCH_X86_64, specs.ArchX86: unix.AUDIT_ARCH_I386,
	specs.ArchAARCH64: unix.AUDIT_ARCH_AARCH64, specs.ArchARM: unix.AUDIT_ARCH_ARM,
}

// Audit returns the AUDIT_ARCH_… of an architecture.
func Audit(a specs.Arch) uint32 { return audits[a] }

// x32Bit marks the numbers of x32 among those of AUDIT_ARCH_X86_64.
const x32Bit = 1 << 30

// Decide returns what a profile answers to a system call.
func Decide(p *specs.LinuxSeccomp, d Data) uint32 {
	fallback := ret(p.DefaultAction, p.DefaultErrnoRet)
	unknown := unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	switch p.DefaultAction {
	case specs.ActAllow, specs.ActLog, specs.ActTrace:
		unknown = fallback
	}
	native := seccomp.Architectures()[0]
	arch := specs.Arch("")
	for a, audit := range audits {
		if audit == d.Arch && (a == specs.ArchX32) == (audit == unix.AUDIT_ARCH_X86_64 && d.Number >= x32Bit) {
			arch = a
		}
	}
	listed := arch == native || slices.Contains(p.Architectures, arch)
	switch {
	case d.Number == ^uint32(0) && (listed || d.Arch == audits[native]):
		return unknown
	case !listed:
		return unix.SECCOMP_RET_KILL_PROCESS
	}

	named, aged, newest := false, false, uint32(0)
	var first *specs.LinuxSyscall
	for i, s := range p.Syscalls {
		for _, name := range s.Names {
			n, ok := seccomp.Number(arch, name)
			if !ok {
				continue
			}
			aged = true
			if n&^x32Bit < 0xf0000 { // the private numbers of ARM have no age
				newest = max(newest, n)
			}
			if n != d.Number {
				continue
			}
			named = true
			if len(s.Args) == 0 && (first == nil || len(first.Args) > 0) || first == nil && holds(s.Args, d, arch == specs.ArchX86_64 || arch == specs.ArchAARCH64) {
				first = &p.Syscalls[i]
			}
		}
	}
	switch {
	case first != nil:
		return ret(first.Action, first.ErrnoRet)
	case !named && aged && d.Number > newest:
		return unknown
	}
	return fallback
}

// holds reports whether all arguments compare well, or any where one is named twice.
func holds(args []specs.LinuxSeccompArg, d Data, wide bool) bool {
	count, seen := 0, map[uint]bool{}
	for _, a := range args {
		v, ok := d.Args[a.Index], false
		if !wide {
			v, a.Value, a.ValueTwo = uint64(uint32(v)), uint64(uint32(a.Value)), uint64(uint32(a.ValueTwo))
		}
		switch a.Op {
		case specs.OpEqualTo:
			ok = v == a.Value
		case specs.OpNotEqual:
			ok = v != a.Value
		case specs.OpLessThan:
			ok = v < a.Value
		case specs.OpLessEqual:
			ok = v <= a.Value
		case specs.OpGreaterThan:
			ok = v > a.Value
		case specs.OpGreaterEqual:
			ok = v >= a.Value
		case specs.OpMaskedEqual:
			ok = v&a.Value == a.ValueTwo
		}
		if ok {
			count++
		}
		seen[a.Index] = true
	}
	return count == len(args) || count > 0 && len(seen) < len(args)
}

// ret is the answer of an action, as seccomp(2) writes it.
func ret(a specs.LinuxSeccompAction, errno *uint) uint32 {
	e := uint32(unix.EPERM)
	if errno != nil {
		e = uint32(*errno)
	}
	return map[specs.LinuxSeccompAction]uint32{
		specs.ActKill: 0, specs.ActKillThread: 0, specs.ActKillProcess: 0x8000_0000, specs.ActTrap: 0x0003_0000, specs.ActErrno: 0x0005_0000 | e,
		specs.ActNotify: 0x7fc0_0000, specs.ActTrace: 0x7ff0_0000 | e, specs.ActLog: 0x7ffc_0000, specs.ActAllow: 0x7fff_0000,
	}[a]
}
