//go:build linux

// Breakout leaves a directory that chroot(2) made a process's root, and runs a
// program there, or says what it sees. It needs nothing but to be root.
//
//	breakout [PROGRAM [ARG...]]
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("breakout: ")
	out, err := breakOut()
	if err != nil {
		log.Fatal(err)
	}
	if !out {
		log.Fatal("I am still inside: .. ends where it ended before")
	}
	if len(os.Args) > 1 {
		log.Fatal(&os.PathError{Op: "exec", Path: os.Args[1], Err: unix.Exec(os.Args[1], os.Args[1:], os.Environ())})
	}
	processes, err := filepath.Glob("/proc/[1-9]*")
	if err != nil {
		log.Fatal(err)
	}
	hostname, err := os.ReadFile("/etc/hostname")
	if err != nil {
		hostname = []byte("unknown\n")
	}
	fmt.Printf("I am out: %d processes, hostname %s", len(processes), hostname)
}

// breakOut says whether / is another directory after it than before.
func breakOut() (bool, error) {
	before, err := os.Stat("/")
	if err != nil {
		return false, err
	}
	// A process has one root. A second chroot forgets the first, and does not
	// move the process: it now stands outside of its root.
	const second = "/second-root"
	if err := os.Mkdir(second, 0o700); err != nil && !os.IsExist(err) {
		return false, err
	}
	if err := unix.Chroot(second); err != nil {
		return false, &os.PathError{Op: "chroot", Path: second, Err: err}
	}
	// ".." stops at the root only for who comes by it. This path does not.
	for range 256 {
		if err := unix.Chdir(".."); err != nil {
			return false, &os.PathError{Op: "chdir", Path: "..", Err: err}
		}
	}
	if err := unix.Chroot("."); err != nil {
		return false, &os.PathError{Op: "chroot", Path: ".", Err: err}
	}
	after, err := os.Stat("/")
	if err != nil {
		return false, err
	}
	return !os.SameFile(before, after), nil
}
