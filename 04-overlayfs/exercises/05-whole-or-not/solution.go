//go:build linux && solution

// Package wholeornot is an exercise of chapter 4.
package wholeornot

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Publish makes the directory name in the directory store. fill fills an empty
// directory, whose path it is given. Whoever looks finds the whole directory
// under its name, or none; after an error there is nothing of it in store. When
// a directory of that name is there already, it stays, and that is no error.
func Publish(store, name string, fill func(dir string) error) (err error) {
	tmp, err := os.MkdirTemp(store, ".new-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := fill(tmp); err != nil {
		return err
	}
	d, err := os.Open(tmp)
	if err != nil {
		return err
	}
	defer d.Close()
	// The name may reach the disk before the files do: after a power cut there
	// would be a directory of empty files.
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return os.NewSyscallError("syncfs", err)
	}
	err = unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, filepath.Join(store, name), unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "rename", Path: tmp, Err: err}
	}
	return nil
}
