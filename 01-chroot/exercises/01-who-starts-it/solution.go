//go:build linux && solution

// Package whostartsit is an exercise of chapter 1.
package whostartsit

import (
	"bytes"
	"debug/elf"
	"io"
	"os"
	"strings"
)

// Interpreter returns the path of what the kernel starts to run an executable
// file: the dynamic linker of an ELF program, or the program that a script
// names in its first line. It is "" when the file needs nobody.
func Interpreter(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 256)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	if line, ok := bytes.CutPrefix(head[:n], []byte("#!")); ok {
		line, _, _ = bytes.Cut(line, []byte("\n"))
		words := strings.Fields(string(line))
		return words[0], nil
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return "", err
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(p.Open())
			return strings.TrimRight(string(name), "\x00"), err
		}
	}
	return "", nil
}
