//go:build linux && solution

// Package anothername is an exercise of chapter 2.
package anothername

import (
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// Hostname runs a program in a UTS namespace of its own in which the host name
// is name, and returns what it prints.
func Hostname(name, program string, args ...string) (string, error) {
	type result struct {
		output []byte
		err    error
	}
	done := make(chan result)
	go func() {
		// Never unlocked: the thread ends with this goroutine, and with it its namespace.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
			done <- result{nil, err}
			return
		}
		if err := unix.Sethostname([]byte(name)); err != nil {
			done <- result{nil, err}
			return
		}
		output, err := exec.Command(program, args...).Output()
		done <- result{output, err}
	}()
	r := <-done
	return string(r.output), r.err
}
