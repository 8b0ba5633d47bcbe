//go:build linux

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// ways move the process to a directory outside of its root.
var ways = map[string]func() error{"dotdot": byDotDot, "proc": byProc, "descriptor": byDescriptor}

// byDotDot: a process has one root. A second chroot forgets the first, and does
// not move the process: it now stands outside of its root.
func byDotDot() error {
	const second = "/second-root"
	if err := os.Mkdir(second, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	if err := unix.Chroot(second); err != nil {
		return &os.PathError{Op: "chroot", Path: second, Err: err}
	}
	// ".." stops at the root only for who comes by it. This path does not.
	for range 256 {
		if err := unix.Chdir(".."); err != nil {
			return &os.PathError{Op: "chdir", Path: "..", Err: err}
		}
	}
	return nil
}

// byProc: /proc/PID/root looks like a link and is none: the kernel goes to that
// process's root, and reads no path on the way.
func byProc() error {
	if err := os.Mkdir("/proc", 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return &os.PathError{Op: "mount", Path: "/proc", Err: err}
	}
	// The mount is the host's, where the jail has none of its own.
	defer unix.Unmount("/proc", unix.MNT_DETACH)
	if err := unix.Chdir("/proc/1/root"); err != nil {
		return &os.PathError{Op: "chdir", Path: "/proc/1/root", Err: err}
	}
	return nil
}

// byDescriptor: an open directory is no path, and no root stops it.
func byDescriptor() error { return os.NewSyscallError("fchdir 3", unix.Fchdir(3)) }
