//go:build linux && solution

// Package nowayout is an exercise of chapter 1.
package nowayout

import "syscall"

// Drop makes this process an ordinary user's, in all that the kernel asks for,
// so that cmd/breakout fails in it.
func Drop(uid, gid int) error {
	// The user last: without root the groups could not be changed any more.
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setgid(gid); err != nil {
		return err
	}
	return syscall.Setuid(uid)
}
