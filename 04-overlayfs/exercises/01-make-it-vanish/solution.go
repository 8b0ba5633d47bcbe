//go:build linux && solution

// Package makeitvanish is an exercise of chapter 4.
package makeitvanish

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Hide changes the directory upper so that an overlay of it over any lower
// layers has no file, directory or link called name in its root.
func Hide(upper, name string) error {
	path := filepath.Join(upper, name)
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	if err := unix.Mknod(path, unix.S_IFCHR, 0); err != nil {
		return &os.PathError{Op: "mknod", Path: path, Err: err}
	}
	return nil
}
