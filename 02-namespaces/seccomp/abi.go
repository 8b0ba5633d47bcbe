//go:build linux

package seccomp

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// An abi is a way to call the kernel: an architecture with its numbers.
type abi struct {
	arch  specs.Arch
	audit uint32 // AUDIT_ARCH_…, which is what a filter sees
	wide  bool   // its arguments have 64 bits: of others, only the lower half is the argument
	first uint32 // the lowest number. x32 shares AUDIT_ARCH_X86_64 and has the numbers from 1<<30 on
}

// private is where the numbers begin that an architecture has for itself
// (ARM's __ARM_NR_BASE). They say nothing about the age of a call.
const private = 0x0f_0000

// A syscall is a row of the table that syscalls_GOARCH.go holds, sorted by
// name: a constant in the program's file, for which nothing runs at its start.
type syscall struct {
	name    string
	numbers [len(abis)]int32 // -1: the abi does not have it
}

// lookUp returns a call's numbers, in the order of abis. By hand, because
// a profile names hundreds and a function call for each comparison shows.
func lookUp(name string) (*[len(abis)]int32, bool) {
	low, high := 0, len(syscalls)
	for low < high {
		if middle := (low + high) / 2; syscalls[middle].name < name {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == len(syscalls) || syscalls[low].name != name {
		return nil, false
	}
	return &syscalls[low].numbers, true
}

// Number returns the number of a call in an architecture of this machine.
func Number(arch specs.Arch, name string) (number uint32, ok bool) {
	i := slices.IndexFunc(abis[:], func(a abi) bool { return a.arch == arch })
	numbers, ok := lookUp(name)
	if i < 0 || !ok || numbers[i] < 0 {
		return 0, false
	}
	return uint32(numbers[i]), true
}

// Architectures are those with whose numbers this package can work: of this
// machine.
func Architectures() []specs.Arch {
	list := make([]specs.Arch, len(abis))
	for i, a := range abis {
		list[i] = a.arch
	}
	return list
}

// foreign reports whether the specification knows an architecture, which this
// machine's kernel cannot run then: a call by its numbers cannot happen.
func foreign(a specs.Arch) bool {
	return slices.Contains([]specs.Arch{
		specs.ArchX86, specs.ArchX86_64, specs.ArchX32, specs.ArchARM, specs.ArchAARCH64, specs.ArchMIPS, specs.ArchMIPS64, specs.ArchMIPS64N32,
		specs.ArchMIPSEL, specs.ArchMIPSEL64, specs.ArchMIPSEL64N32, specs.ArchPPC, specs.ArchPPC64, specs.ArchPPC64LE, specs.ArchS390, specs.ArchS390X,
		specs.ArchPARISC, specs.ArchPARISC64, specs.ArchRISCV64, specs.ArchLOONGARCH64, specs.ArchM68K, specs.ArchSH, specs.ArchSHEB,
	}, a)
}
