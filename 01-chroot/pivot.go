//go:build linux

package chroot

import (
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Pivot makes the directory root this process's root in a mount namespace of
// its own, in which the rest of the host's tree is not mounted: pivot_root(2).
// The namespace is the calling thread's: the caller has locked it with
// runtime.LockOSThread and calls [Exec] from it.
func Pivot(ctx context.Context, root string) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		why, call string
		do        func() error
	}{
		{"a copy of the host's mounts, to change at will", "unshare(CLONE_NEWNS)",
			func() error { return unix.Unshare(unix.CLONE_NEWNS) }},
		{"the copies still pass mounts on to the originals: no more", `mount("", "/", "", MS_REC|MS_PRIVATE, NULL)`,
			func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"only a mount can become the root of all mounts", `mount("` + root + `", "` + root + `", "", MS_BIND|MS_REC, NULL)`,
			func() error { return unix.Mount(root, root, "", unix.MS_BIND|unix.MS_REC, "") }},
		{"to name it without its path", `chdir("` + root + `")`,
			func() error { return unix.Chdir(root) }},
		{"the new root takes the place of the old, and the old lies on top of it", `pivot_root(".", ".")`,
			func() error { return unix.PivotRoot(".", ".") }},
		{"the old root goes: there is nothing left to walk out to", `umount2(".", MNT_DETACH)`,
			func() error { return unix.Unmount(".", unix.MNT_DETACH) }},
		{"and this process stands inside", `chdir("/")`,
			func() error { return unix.Chdir("/") }},
	} {
		chapter.Call(ctx, step.why, "%s", step.call)
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.call, err)
		}
	}
	return nil
}
