//go:build linux

package seccomp

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxArguments is how many a system call has.
const maxArguments = 6

// Operators are the comparisons that a profile can make of an argument.
func Operators() []specs.LinuxSeccompOperator {
	return []specs.LinuxSeccompOperator{
		specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual,
	}
}

func checkArgument(field string, a specs.LinuxSeccompArg) error {
	if a.Index >= maxArguments {
		return fmt.Errorf("%s.index: %d: a system call has %d arguments, from 0 on", field, a.Index, maxArguments)
	}
	if !slices.Contains(Operators(), a.Op) {
		return fmt.Errorf("%s.op: %q: want one of %q", field, a.Op, Operators())
	}
	return nil
}

// The fields of struct seccomp_data. The halves of an argument lie as on a
// little-endian machine, which amd64 and arm64 are.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
)

// compare writes the comparison of one argument: where it is wide, of 64 bits
// in two halves of 32. Else 32 bits of it are compared with 32 of the rule's
// value, so -1 is -1: what a 32-bit program leaves in the upper half of a
// register is not part of the argument, and must not decide about it.
func (p *program) compare(a specs.LinuxSeccompArg, wide bool, yes, no target) target {
	const all = ^uint64(0)
	switch a.Op {
	case specs.OpEqualTo:
		return p.equal(a.Index, wide, all, a.Value, yes, no)
	case specs.OpNotEqual:
		return p.equal(a.Index, wide, all, a.Value, no, yes)
	case specs.OpMaskedEqual:
		return p.equal(a.Index, wide, a.Value, a.ValueTwo, yes, no)
	case specs.OpGreaterThan:
		return p.greater(a.Index, wide, unix.BPF_JGT, a.Value, yes, no)
	case specs.OpLessEqual:
		return p.greater(a.Index, wide, unix.BPF_JGT, a.Value, no, yes)
	case specs.OpGreaterEqual:
		return p.greater(a.Index, wide, unix.BPF_JGE, a.Value, yes, no)
	default: // specs.OpLessThan: checkArgument knows no other
		return p.greater(a.Index, wide, unix.BPF_JGE, a.Value, no, yes)
	}
}

// equal compares argument & mask with value. The lower half is asked first: it
// tells more, and the next alternative, which asks for it too, finds it loaded.
func (p *program) equal(index uint, wide bool, mask, value uint64, yes, no target) target {
	low := uint32(dataArgs + 8*index)
	if wide {
		yes = p.half(low+4, uint32(mask>>32), uint32(value>>32), yes, no)
	}
	return p.half(low, uint32(mask), uint32(value), yes, no)
}

func (p *program) half(offset, mask, value uint32, yes, no target) target {
	switch {
	case value&^mask != 0:
		return no
	case mask == 0:
		return yes
	case mask != ^uint32(0):
		test := p.jump(unix.BPF_JEQ, value, yes, no)
		return p.emit(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset, p.emit(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, mask, test))
	}
	return p.test(offset, unix.BPF_JEQ, value, yes, no)
}

// test compares the word at an offset.
func (p *program) test(offset uint32, op uint16, value uint32, yes, no target) target {
	return p.load(offset, p.jump(op, value, p.loaded(offset, yes), p.loaded(offset, no)))
}

// greater compares argument and value by op, BPF_JGT or BPF_JGE: the upper
// halves decide, unless they are equal.
func (p *program) greater(index uint, wide bool, op uint16, value uint64, yes, no target) target {
	low := uint32(dataArgs + 8*index)
	test := p.test(low, op, uint32(value), yes, no)
	if !wide {
		return test
	}
	high, v := low+4, uint32(value>>32)
	yes, no = p.loaded(high, yes), p.loaded(high, no)
	return p.load(high, p.jump(unix.BPF_JGT, v, yes, p.jump(unix.BPF_JEQ, v, test, no)))
}
