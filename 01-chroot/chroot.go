//go:build linux

package chroot

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// Enter makes the directory root this process's root directory: chroot(2). It
// needs CAP_SYS_CHROOT. There is no way back but the one that cmd/breakout
// takes.
func Enter(ctx context.Context, root string) error {
	chapter.Call(ctx, "from now on every path starts here", "chroot(%q)", root)
	if err := unix.Chroot(root); err != nil {
		return &os.PathError{Op: "chroot", Path: root, Err: err}
	}
	// chroot changes where / is and not where the process stands. Without this
	// the working directory would be a place outside, and ".." would work there.
	chapter.Call(ctx, "and this process stands inside", "chdir(%q)", "/")
	if err := unix.Chdir("/"); err != nil {
		return &os.PathError{Op: "chdir", Path: root, Err: err}
	}
	return nil
}

// Exec replaces this process by the program argv[0], a path in the new root or
// a name to look up in $PATH there: execve(2). It returns only to say why it
// could not; the error is an [exec.Error] when there is no such program.
func Exec(ctx context.Context, argv []string) error {
	// A directory that someone left open is a way out: fchdir(2) leads to it.
	chapter.Call(ctx, "no file that is open now reaches the program", "close_range(3, 4294967295, CLOSE_RANGE_CLOEXEC)")
	if err := unix.CloseRange(3, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return os.NewSyscallError("close_range", err)
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	chapter.Call(ctx, "the program takes this process's place", "execve(%q, %s)", path, quoteAll(argv))
	err = unix.Exec(path, argv, os.Environ())
	if err == unix.ENOENT {
		// The file is there: what the kernel misses is what shall start it.
		if interpreter := interpreterOf(path); interpreter != "" {
			return fmt.Errorf("exec %s: its interpreter %s: %w", path, interpreter, err)
		}
	}
	return &os.PathError{Op: "exec", Path: path, Err: err}
}
