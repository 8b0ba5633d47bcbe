//go:build linux && solution

// Package maskapath is an exercise of chapter 7.
package maskapath

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Mask makes the file path empty for the container that the process pid is in.
// Path is as seen in the container, which may have put a link there.
func Mask(pid int, path string) error {
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with this goroutine, and is in the container until then.
		runtime.LockOSThread()
		done <- mask(pid, path)
	}()
	return <-done
}

func mask(pid int, path string) error {
	// The host's: the container's could be anything.
	null, err := unix.OpenTree(unix.AT_FDCWD, "/dev/null", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("open_tree", err)
	}
	defer unix.Close(null)
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(pidfd)
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Setns(pidfd, unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("setns", err)
	}
	if err := unix.MoveMount(null, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS); err != nil {
		return fmt.Errorf("move_mount to %s: %w", path, err)
	}
	return nil
}
