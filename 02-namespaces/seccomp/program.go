//go:build linux

package seccomp

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// A program is classic BPF under construction. Its jumps go forward only, so it
// is written from the end: what is jumped to is there before the jump.
type program struct {
	code []unix.SockFilter // the last instruction first
	rets map[uint32]int    // where a value was returned last
}

// A target is where a jump goes: to an instruction, or to the return of a
// value, which is written where it is needed within reach.
type target struct {
	ret   bool
	value uint32
	at    int // index in code
}

func returns(value uint32) target { return target{ret: true, value: value} }

// reach is how far a conditional jump goes: its offsets have eight bits. Two
// are kept for what is written between a jump and its targets.
const reach = 255 - 2

// place returns the index of a target that the next instruction, or the one
// after it, can jump to.
func (p *program) place(t target) int {
	if t.ret {
		if at, ok := p.rets[t.value]; ok && len(p.code)-at <= reach {
			return at
		}
		p.code = append(p.code, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: t.value})
		p.rets[t.value] = len(p.code) - 1
	} else if distance := len(p.code) - t.at; distance > reach {
		p.code = append(p.code, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(distance - 1)})
	} else {
		return t.at
	}
	return len(p.code) - 1
}

// jump writes a comparison of the accumulator with k.
func (p *program) jump(op uint16, k uint32, yes, no target) target {
	if yes == no {
		return yes
	}
	y := p.place(yes)
	n := p.place(no)
	from := len(p.code)
	p.code = append(p.code, unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: uint8(from - y - 1), Jf: uint8(from - n - 1), K: k})
	return target{at: from}
}

// emit writes an instruction that goes on at next.
func (p *program) emit(code uint16, k uint32, next target) target {
	// What follows must stand right behind it.
	if at := p.place(next); at != len(p.code)-1 {
		if p.code[at].Code == unix.BPF_RET|unix.BPF_K {
			p.code = append(p.code, p.code[at])
		} else {
			p.code = append(p.code, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(len(p.code) - at - 1)})
		}
	}
	p.code = append(p.code, unix.SockFilter{Code: code, K: k})
	return target{at: len(p.code) - 1}
}

const loadWord = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS

// load reads the word at an offset of struct seccomp_data.
func (p *program) load(offset uint32, next target) target {
	return p.emit(loadWord, offset, next)
}

// loaded is the target for somebody who has the word already: past its load.
func (p *program) loaded(offset uint32, t target) target {
	if !t.ret && p.code[t.at].Code == loadWord && p.code[t.at].K == offset {
		t.at--
	}
	return t
}

// maxInstructions is the kernel's limit, BPF_MAXINSNS.
const maxInstructions = 4096

// bytes returns the program as an array of struct sock_filter.
func (p *program) bytes() ([]byte, error) {
	if n := len(p.code); n > maxInstructions {
		return nil, fmt.Errorf("linux.seccomp: the filter has %d instructions, the kernel takes %d", n, maxInstructions)
	}
	b := make([]byte, 0, len(p.code)*unix.SizeofSockFilter)
	for i := len(p.code) - 1; i >= 0; i-- {
		c := p.code[i]
		b = binary.NativeEndian.AppendUint16(b, c.Code)
		b = append(b, c.Jt, c.Jf)
		b = binary.NativeEndian.AppendUint32(b, c.K)
	}
	return b, nil
}
