//go:build linux

// Breakout leaves a directory that chroot(2) made a process's root, and runs a
// program there, or says what it sees.
//
//	breakout [--by WAY] [PROGRAM [ARG...]]
//
// The ways, all as root: dotdot makes a second root and walks up; proc mounts a
// /proc, in which the roots of other processes are; descriptor takes a directory
// that whoever made the jail left open as descriptor 3.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("breakout: ")
	by := flag.String("by", "dotdot", "the `way` out: dotdot, proc or descriptor")
	flag.Parse()
	way, ok := ways[*by]
	if !ok {
		log.Fatalf("--by %s is none of dotdot, proc, descriptor", *by)
	}
	out, err := breakOut(way)
	if err != nil {
		log.Fatal(err)
	}
	if !out {
		log.Fatal("I am still inside: .. ends where it ended before")
	}
	if args := flag.Args(); len(args) > 0 {
		log.Fatal(&os.PathError{Op: "exec", Path: args[0], Err: unix.Exec(args[0], args, os.Environ())})
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
func breakOut(way func() error) (bool, error) {
	before, err := os.Stat("/")
	if err != nil {
		return false, err
	}
	if err := way(); err != nil {
		return false, err
	}
	// It stands outside. This makes where it stands the root.
	if err := unix.Chroot("."); err != nil {
		return false, &os.PathError{Op: "chroot", Path: ".", Err: err}
	}
	after, err := os.Stat("/")
	if err != nil {
		return false, err
	}
	return !os.SameFile(before, after), nil
}
