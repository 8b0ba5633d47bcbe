//go:build linux

package namespaces

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// openInRoot opens a path as the container sees it: "..", absolute symbolic
// links and all else are resolved below root and cannot leave it (openat2(2),
// RESOLVE_IN_ROOT). Magic links, such as those of /proc/PID/fd, are refused:
// they lead out of any root.
func openInRoot(root int, path string, flags uint64) (int, error) {
	for {
		fd, err := unix.Openat2(root, path, &unix.OpenHow{
			Flags:   flags | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
		// EAGAIN: something was renamed during the walk, so the kernel could not vouch for "..".
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, &os.PathError{Op: "openat2", Path: path, Err: err}
		}
		return fd, nil
	}
}

// openPlain is openInRoot for a path that must not have a symbolic link in it.
func openPlain(root int, path string, flags uint64) (int, error) {
	fd, err := unix.Openat2(root, path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS})
	for err == unix.EAGAIN || err == unix.EINTR {
		fd, err = unix.Openat2(root, path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS})
	}
	if err == unix.ELOOP {
		return -1, fmt.Errorf("%s is, or leads through, a symbolic link: want a plain path: %w", path, err)
	}
	if err != nil {
		return -1, &os.PathError{Op: "openat2", Path: path, Err: err}
	}
	return fd, nil
}

// mkdirInRoot opens the directory path below root, and makes what is missing of it.
func mkdirInRoot(root int, path string) (int, error) {
	path = clean(path)
	fd, err := openInRoot(root, path, unix.O_PATH|unix.O_DIRECTORY)
	if path == "." || !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	parent, err := mkdirInRoot(root, filepath.Dir(path))
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	if err := unix.Mkdirat(parent, filepath.Base(path), 0o755); err != nil && err != unix.EEXIST {
		return -1, &os.PathError{Op: "mkdirat", Path: path, Err: err}
	}
	return openInRoot(root, path, unix.O_PATH|unix.O_DIRECTORY)
}

// touchInRoot opens the file path below root, and makes it, empty, if it is missing.
func touchInRoot(root int, path string) (int, error) {
	path = clean(path)
	fd, err := openInRoot(root, path, unix.O_PATH)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	parent, err := mkdirInRoot(root, filepath.Dir(path))
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	// O_EXCL: never through a symbolic link that dangles.
	f, err := unix.Openat(parent, filepath.Base(path), unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return -1, &os.PathError{Op: "openat", Path: path, Err: err}
	}
	unix.Close(f)
	return openInRoot(root, path, unix.O_PATH)
}

// clean makes a path as seen inside relative to the root: "/dev/pts" is "dev/pts".
func clean(path string) string {
	path = strings.TrimPrefix(filepath.Clean("/"+path), "/")
	if path == "" {
		return "."
	}
	return path
}
