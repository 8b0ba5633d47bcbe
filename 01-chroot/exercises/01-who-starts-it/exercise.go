//go:build linux && !solution

// Package whostartsit is an exercise of chapter 1.
package whostartsit

import "errors"

// Interpreter returns the path of what the kernel starts to run an executable
// file: the dynamic linker of an ELF program, or the program that a script
// names in its first line. It is "" when the file needs nobody.
func Interpreter(path string) (string, error) {
	return "", errors.New("not solved yet")
}
