//go:build linux

package overlayfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Supported returns nil if this process can mount overlays whose upper lies in
// each of dirs, or else why not and the cure, as [errdefs.ErrFailedPrecondition].
// Without dirs it asks only whether the kernel has overlay and we may use it.
//
// It finds out by trying, as far as the point where a file system exists and is
// mounted nowhere.
func Supported(dirs ...string) error {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	switch {
	case err == nil:
		unix.Close(fs)
	case errors.Is(err, unix.ENODEV):
		return unsupported("this kernel has no overlay file system", "load it with `modprobe overlay`, or use a kernel with CONFIG_OVERLAY_FS", err)
	case errors.Is(err, unix.EPERM):
		return unsupported("mounting needs root (CAP_SYS_ADMIN)", "run as root, or with `unshare -Urm` as root of a user namespace (Linux 5.11 or newer)", err)
	case errors.Is(err, unix.ENOSYS):
		return unsupported("this kernel is older than 5.2 or its calls are filtered", "use Linux 5.8 or newer", err)
	default:
		return unsupported("fsopen overlay", "see dmesg", err)
	}
	for _, dir := range dirs {
		if err := tryUpper(dir); err != nil {
			return unsupported(fmt.Sprintf("%s cannot hold layers", dir),
				"use a directory on ext4, xfs, btrfs or tmpfs, not on an overlay, a network or a shared file system", err)
		}
	}
	return nil
}

func unsupported(what, cure string, err error) error {
	return fmt.Errorf("%s: %w (%s): %w", what, err, cure, errdefs.ErrFailedPrecondition)
}

// tryUpper makes an overlay with its upper in dir, and what layers need.
func tryUpper(dir string) (err error) {
	tmp, err := os.MkdirTemp(dir, temporary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	o := &overlay{lower: []string{filepath.Join(tmp, "lower")}, upper: filepath.Join(tmp, "upper"), work: filepath.Join(tmp, "work"), options: layerOptions()}
	for _, d := range []string{o.lower[0], o.upper, o.work} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return err
		}
	}
	if err := unix.Mknod(filepath.Join(o.upper, "whiteout"), unix.S_IFCHR, 0); err != nil {
		return os.NewSyscallError("mknod whiteout", err)
	}
	if err := unix.Setxattr(o.upper, opaqueXattr(), []byte("y"), 0); err != nil {
		return os.NewSyscallError("setxattr "+opaqueXattr(), err)
	}
	fs, err := o.superblock(context.Background())
	if errors.Is(err, errOldKernel) {
		return nil // only mount(2) could tell
	}
	if err == nil {
		unix.Close(fs)
	}
	return err
}
