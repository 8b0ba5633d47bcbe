//go:build linux

package namespaces

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// changeRoot makes the new root file system the root of the mount namespace
// and lets go of the old one. chroot(2) would only move the process: the old
// root would stay in the namespace, and with it a way back (chapter 1).
func changeRoot(p *initProcess) error {
	if p.Root == nil {
		return nil // it has entered a container: the root is there
	}
	chapter.Call(p.ctx, "stand in the new root, so that it can be named \".\"", "fchdir(%d)", p.root)
	if err := unix.Fchdir(p.root); err != nil {
		return os.NewSyscallError("fchdir", err)
	}
	if !isNew(p.Namespaces, specs.MountNamespace) {
		chapter.Call(p.ctx, "no mount namespace of its own: a root that can be left again is all that can be had", "chroot(\".\")")
		return os.NewSyscallError("chroot", unix.Chroot("."))
	}
	if p.NoPivot {
		return moveRoot(p)
	}
	// With "." twice the old root is stacked on the new one, and no directory is needed to keep it (pivot_root(2), NOTES).
	chapter.Call(p.ctx, "the new root becomes /, the old one is stacked over it", "pivot_root(\".\", \".\")")
	if err := unix.PivotRoot(".", "."); err != nil {
		return os.NewSyscallError("pivot_root", err)
	}
	// MNT_DETACH: the old root is busy, because it is everybody else's. It is a
	// slave since the step "propagation", so this does not reach the host.
	chapter.Call(p.ctx, "the old root leaves this namespace: there is no way back", "umount2(\".\", MNT_DETACH)")
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount2", err)
	}
	chapter.Call(p.ctx, "and not somewhere above it", "chdir(\"/\")")
	return os.NewSyscallError("chdir", unix.Chdir("/"))
}

// moveRoot puts the new root over the old one, which stays below it in the
// namespace: only who may not move or unmount it is kept inside (no
// CAP_SYS_ADMIN). It is the way on a ramdisk, whose root cannot be pivoted.
func moveRoot(p *initProcess) error {
	if err := leaveKernelFilesystems(p); err != nil {
		return err
	}
	chapter.Call(p.ctx, "the new root over the old one, which a ramdisk cannot let go of", "mount(\".\", \"/\", NULL, MS_MOVE, NULL)")
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return &os.PathError{Op: "mount MS_MOVE", Path: p.Root.Path, Err: err}
	}
	chapter.Call(p.ctx, "this process still begins at the old one", "chroot(\".\")")
	if err := unix.Chroot("."); err != nil {
		return os.NewSyscallError("chroot", err)
	}
	return os.NewSyscallError("chdir", unix.Chdir("/"))
}

// leaveKernelFilesystems unmounts each proc and sysfs outside of the new root.
// They would stay below it, out of reach and without masks; and whoever has an
// unmasked one in his mount namespace may mount another in a user namespace of
// his own (mount_too_revealing in the kernel's fs/namespace.c).
func leaveKernelFilesystems(p *initProcess) error {
	root, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", p.root))
	if err != nil {
		return err
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for _, line := range slices.Backward(slices.Collect(strings.Lines(string(table)))) {
		mount, filesystem, _ := strings.Cut(line, " - ")
		where := unescape.Replace(strings.Fields(mount)[4])
		kind, _, _ := strings.Cut(filesystem, " ")
		if kind != "proc" && kind != "sysfs" || where == root || strings.HasPrefix(where, root+"/") {
			continue
		}
		chapter.Call(p.ctx, "it has no masks, and would stay behind the new root", "umount2(%q, MNT_DETACH)", where)
		// EINVAL and ENOENT: it went with one that it was mounted on.
		if err := unix.Unmount(where, unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
			return &os.PathError{Op: "umount2", Path: where, Err: err}
		}
	}
	return nil
}

// sealRoot makes the root read-only, as root.readonly asks, and gives it the
// propagation that linux.rootfsPropagation asks for.
func sealRoot(p *initProcess) error {
	if _, readonly := ownDev(p); readonly {
		chapter.Call(p.ctx, "/dev has its devices and its terminal now", "mount_setattr(AT_FDCWD, \"/dev\", 0, {attr_set=MOUNT_ATTR_RDONLY}, %d)", unix.MOUNT_ATTR_SIZE_VER0)
		if err := unix.MountSetattr(unix.AT_FDCWD, "/dev", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
			return &os.PathError{Op: "mount_setattr", Path: "/dev", Err: err}
		}
	}
	if p.Root != nil && p.Root.Readonly {
		chapter.Call(p.ctx, "the root file system can be read and not written", "mount_setattr(AT_FDCWD, \"/\", 0, {attr_set=MOUNT_ATTR_RDONLY}, %d)", unix.MOUNT_ATTR_SIZE_VER0)
		if err := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
			return &os.PathError{Op: "mount_setattr", Path: "/", Err: err}
		}
	}
	if name := p.RootfsPropagation; name != "" {
		for _, pr := range parseMountOptions([]string{name}).propagation {
			flags := uint(0)
			if pr.recursive {
				flags = unix.AT_RECURSIVE
			}
			if err := unix.MountSetattr(unix.AT_FDCWD, "/", flags, &unix.MountAttr{Propagation: pr.flag}); err != nil {
				return &os.PathError{Op: "mount_setattr " + name, Path: "/", Err: err}
			}
		}
	}
	return nil
}
