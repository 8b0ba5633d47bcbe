//go:build linux

package overlayfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/doctor"
)

// room is what an engine's directory should have free: a few images.
const room = 2 << 30

// Checks returns this chapter's questions to the host. The layers are, or will
// be, below root.
func Checks(root string) []doctor.Check {
	root = existing(root)
	return []doctor.Check{
		{Chapter: chapter, Name: "overlay", For: "a root made of layers, and so for every image", Run: func(ctx context.Context) doctor.Result { return overlayFound(os.Geteuid(), supported(ctx)) }},
		{Chapter: chapter, Name: "layers", For: "images and containers, which are kept there", Run: func(ctx context.Context) doctor.Result { return tryLayers(ctx, root, doctor.Missing) }},
		{Chapter: chapter, Name: "layers of tests", For: "the tests of chapters 4, 6 and 7", Run: func(ctx context.Context) doctor.Result { return tryLayers(ctx, os.TempDir(), doctor.Limited) }},
		{Chapter: chapter, Name: "room", For: "images", Run: func(context.Context) doctor.Result { return doctor.Space(root, room, "pulling images") }},
	}
}

// existing returns dir, or the directory above it in which it would be made.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// supported asks in a mount namespace of its own, where a user namespace's root
// may do what the host's mount namespace does not let him.
func supported(ctx context.Context) error {
	return doctor.Apart(ctx, unix.CLONE_NEWNS, func() error { return Supported() })
}

func overlayFound(euid int, err error) doctor.Result {
	switch {
	case err == nil:
		return doctor.Fine("works")
	case errors.Is(err, unix.EPERM) && euid != 0:
		return doctor.NeedsRoot()
	}
	r := doctor.Result{Status: doctor.Missing, Found: "overlay: " + reason(err).Error(), Why: "mounts are refused: this is the inside of a container",
		Cure: []string{"docker run --privileged …    # start that container with all capabilities, or work on the host"}}
	if errors.Is(err, unix.ENODEV) {
		r.Why = "the kernel has no overlay file system, or has it as a module that is not loaded"
		r.Cure = []string{"sudo modprobe overlay", "echo overlay | sudo tee /etc/modules-load.d/overlay.conf    # at every boot"}
	}
	return r
}

// reason is the kernel's word in an error: the answer has its own explanation.
func reason(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// tryLayers makes an overlay, mounted nowhere, whose upper lies in dir, with the
// marks that layers have; worst is how bad a failure is.
func tryLayers(ctx context.Context, dir string, worst doctor.Status) doctor.Result {
	// Without overlay at all no directory is at fault; that has a check of its own.
	if err := supported(ctx); errors.Is(err, unix.EPERM) && os.Geteuid() != 0 {
		return doctor.NeedsRoot()
	} else if err != nil {
		return doctor.Result{Status: doctor.Unknown, Found: "there is no overlay to try"}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return doctor.Result{Status: doctor.Unknown, Found: (&os.PathError{Op: "statfs", Path: dir, Err: err}).Error()}
	}
	kind := fileSystem(uint32(st.Type))
	err := doctor.Apart(ctx, unix.CLONE_NEWNS, func() error { return tryUpper(dir) })
	if err == nil {
		return doctor.Fine("%s is on %s", dir, kind)
	}
	return layersFound(dir, kind, err, worst)
}

func layersFound(dir, kind string, err error, worst doctor.Status) doctor.Result {
	r := doctor.Result{
		Status: worst, Found: fmt.Sprintf("%s is on %s: %v", dir, kind, err),
		Why:  "that file system does not have what overlay asks of the place where it writes: whiteouts, trusted.* attributes (user.* in a user namespace), d_type",
		Cure: []string{"drydockd --root DIR    # a directory on ext4, xfs, btrfs or tmpfs", "export TMPDIR=DIR      # likewise, for the tests"},
	}
	switch {
	case kind == "overlay":
		r.Why = "an overlay cannot write into another one, and this is the root of a container"
		r.Cure = []string{"docker run -v /var/lib/drydock -v /tmp …    # give that container volumes for both directories",
			"sudo mount -t tmpfs tmpfs " + dir + "    # or keep them in memory"}
	case kind == "9p" || kind == "virtiofs" || kind == "vboxsf":
		r.Why = "it is shared with a host outside of this virtual machine, whose file system does not take whiteouts and trusted.* attributes"
		r.Cure = []string{"drydockd --root DIR    # a directory of the virtual machine's own disk", "export TMPDIR=DIR      # likewise, for the tests"}
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		r.Why = "this is root of a user namespace, and the directory belongs to someone else; or the kernel is older than 5.11, and mounts no overlay for him"
		r.Cure = []string{"drydockd --root DIR    # a directory of your own", "sudo drydockd    # on the host, outside of the user namespace"}
	case errors.Is(err, unix.EROFS):
		r.Why, r.Cure = "it is mounted read-only", []string{"sudo mount -o remount,rw " + dir}
	case errors.Is(err, unix.ENOSPC):
		r.Why, r.Cure = "it is full", []string{"df -h " + dir}
	}
	return r
}

// fileSystem names the file systems that people keep layers on, or try to, by
// the numbers of statfs(2).
func fileSystem(magic uint32) string {
	names := map[uint32]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.TMPFS_MAGIC: "tmpfs",
		unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.NFS_SUPER_MAGIC: "nfs", unix.V9FS_MAGIC: "9p", unix.FUSE_SUPER_MAGIC: "fuse",
		unix.F2FS_SUPER_MAGIC: "f2fs", unix.ECRYPTFS_SUPER_MAGIC: "ecryptfs", 0x2fc12fc1: "zfs", 0x786f4256: "vboxsf", 0x6a656a63: "virtiofs",
	}
	if name, ok := names[magic]; ok {
		return name
	}
	return strings.ToLower(fmt.Sprintf("a file system of type %#x", magic))
}
