//go:build linux && solution

// Package nowayout is an exercise of chapter 4.
package nowayout

import (
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Create makes the file name, a path from an archive that nobody vouches for,
// in the directory root, and returns it open for writing. Its parent directory
// is there. Links on the way lead where they lead for a process whose / is
// root; what stands at the name itself is replaced.
func Create(root, name string) (*os.File, error) {
	top, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(top)
	clean := path.Clean("/" + name)
	parent, err := unix.Openat2(top, path.Dir(clean), &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &os.PathError{Op: "openat2", Path: name, Err: err}
	}
	defer unix.Close(parent)
	base := path.Base(clean)
	if err := unix.Unlinkat(parent, base, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, &os.PathError{Op: "unlinkat", Path: name, Err: err}
	}
	fd, err := unix.Openat(parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, &os.PathError{Op: "openat", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}
