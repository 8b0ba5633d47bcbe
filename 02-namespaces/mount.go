//go:build linux

package namespaces

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// receiveOnly cuts the way from the container's mounts to the host's. Slave
// rather than private: a disk that the host mounts later below a shared volume
// still arrives inside.
func receiveOnly(p *initProcess) error {
	if !isNew(p.Namespaces, specs.MountNamespace) {
		return nil
	}
	chapter.Call(p.ctx, "no mount made in here may appear on the host", "mount(\"\", \"/\", \"\", MS_REC|MS_SLAVE, NULL)")
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return &os.PathError{Op: "mount MS_SLAVE", Path: "/", Err: err}
	}
	return nil
}

// bindRoot makes the new root a mount, which pivot_root(2) wants, and opens it.
func bindRoot(p *initProcess) (err error) {
	if p.Root == nil {
		return nil
	}
	path := p.Root.Path
	if isNew(p.Namespaces, specs.MountNamespace) {
		// The tree's descriptor names what is mounted also where the path does
		// not: "/" stays the mount below.
		if p.root, err = cloneTree(p.ctx, path, true); err != nil {
			return err
		}
	}
	target, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	if !isNew(p.Namespaces, specs.MountNamespace) {
		p.root = target
		return nil
	}
	defer unix.Close(target)
	return attach(p, p.root, target, "the root file system, over itself: pivot_root(2) wants a mount point")
}

// mountAll makes the mounts of the spec, in its order.
func mountAll(p *initProcess) error {
	for i, m := range p.Mounts {
		if err := mountOne(p, i, m); err != nil {
			return fmt.Errorf("mount %s (%s) on %s: %w", cmp.Or(m.Source, "none"), cmp.Or(m.Type, "bind"), m.Destination, err)
		}
	}
	return nil
}

// mountOne makes the i-th mount.
func mountOne(p *initProcess, i int, m specs.Mount) error {
	o := parseMountOptions(m.Options)
	tree, made := p.Trees[i]
	var err error
	switch {
	case made:
	case o.remount:
		return remount(p, m, o)
	case m.Type == "cgroup" && !o.bind, m.Type == "cgroup2" && !has(p.Namespaces, specs.CgroupNamespace):
		return mountCgroups(p, m.Destination, o)
	case o.bind || m.Type == "bind":
		tree, err = bindMount(p, m, o)
	default:
		if filepath.Clean(m.Destination) == "/dev" { // see ownDev
			o.attr.Attr_set &^= unix.MOUNT_ATTR_RDONLY
			o.text = slices.DeleteFunc(o.text, func(s string) bool { return s == "MOUNT_ATTR_RDONLY" })
		}
		o.data = p.withLabel(m.Type, o.data)
		if m.Type == "tmpfs" && !o.copyUp {
			o.data = p.withMode(m.Destination, o.data)
		}
		tree, err = newFilesystem(p, m.Type, m.Source, o)
	}
	if err != nil {
		return err
	}
	p.cover(m.Destination)
	if !o.bind && (m.Type == "proc" || m.Type == "sysfs") {
		return attachKernel(p, tree, m.Destination)
	}
	defer unix.Close(tree)
	if o.copyUp {
		if err := copyUp(p, tree, m.Destination, o); err != nil {
			return fmt.Errorf("tmpcopyup: %w", err)
		}
	}
	if err := attachAt(p, tree, m.Destination, ""); err != nil {
		return err
	}
	return setPropagation(tree, o)
}

func setPropagation(tree int, o mountOptions) error {
	for _, pr := range o.propagation {
		flags := uint(unix.AT_EMPTY_PATH)
		if pr.recursive {
			flags |= unix.AT_RECURSIVE
		}
		if err := unix.MountSetattr(tree, "", flags, &unix.MountAttr{Propagation: pr.flag}); err != nil {
			return fmt.Errorf("set its propagation: %w", os.NewSyscallError("mount_setattr", err))
		}
	}
	return nil
}

// remount changes the mount that an earlier entry of the spec, or the root,
// has made at the destination: its attributes and, unless it is a bind mount,
// the options of its file system.
func remount(p *initProcess, m specs.Mount, o mountOptions) error {
	target, err := openInRoot(p.root, clean(m.Destination), unix.O_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	if !o.bind && len(o.data) > 0 {
		chapter.Call(p.ctx, "other options for the file system of "+m.Destination, "fspick(%d, \"\", FSPICK_CLOEXEC|FSPICK_EMPTY_PATH)", target)
		fs, err := unix.Fspick(target, "", unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH)
		if err != nil {
			return os.NewSyscallError("fspick", err)
		}
		defer unix.Close(fs)
		if err := configure(fs, o.data); err != nil {
			return err
		}
		if err := unix.FsconfigReconfigure(fs); err != nil {
			return refused(fs, strings.Join(o.data, ","), err)
		}
	}
	if err := setAttributes(p.ctx, target, o, m.Destination); err != nil {
		return err
	}
	return setPropagation(target, o)
}

// bindMount returns a detached second mount of m.Source. Its attributes are set
// before it is attached: there is no instant at which a read-only volume can
// be written.
func bindMount(p *initProcess, m specs.Mount, o mountOptions) (int, error) {
	tree, err := cloneTree(p.ctx, m.Source, o.recursive)
	if err != nil {
		return -1, err
	}
	if err := setAttributes(p.ctx, tree, o, m.Destination); err != nil {
		unix.Close(tree)
		return -1, err
	}
	return tree, nil
}

// cloneTree returns a detached copy of the mount at path: what a bind mount is
// made of. With recursive the mounts below come along.
func cloneTree(ctx context.Context, path string, recursive bool) (int, error) {
	flags, text := uint(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC), "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC"
	if recursive {
		flags, text = flags|unix.AT_RECURSIVE, "AT_RECURSIVE|"+text
	}
	chapter.Call(ctx, "a second mount of the same files, not yet attached anywhere", "open_tree(AT_FDCWD, %q, %s)", path, text)
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, flags)
	if err != nil {
		return -1, &os.PathError{Op: "open_tree", Path: path, Err: err}
	}
	return fd, nil
}

// newFilesystem returns a detached mount of a new file system.
func newFilesystem(p *initProcess, fstype, source string, o mountOptions) (int, error) {
	chapter.Call(p.ctx, "a new file system", "fsopen(%q, FSOPEN_CLOEXEC)", fstype)
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, &os.PathError{Op: "fsopen", Path: fstype, Err: err}
	}
	defer unix.Close(fs)
	if source != "" {
		if err := unix.FsconfigSetString(fs, "source", source); err != nil {
			return -1, refused(fs, "source="+source, err)
		}
	}
	data := o.data
	if o.attr.Attr_set&unix.MOUNT_ATTR_RDONLY != 0 && filepath.IsAbs(source) {
		// A read-only mount of a disk does not write to it, not even to replay its journal.
		data = append(slices.Clip(data), "ro")
	}
	if err := configure(fs, data); err != nil {
		return -1, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, refused(fs, strings.Join(o.data, ","), err)
	}
	attrs := int(o.attr.Attr_set)
	chapter.Call(p.ctx, "it becomes a mount, not yet attached anywhere", "fsmount(%d, FSMOUNT_CLOEXEC, %s)", fs, cmp.Or(strings.Join(o.text, "|"), "0"))
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		return -1, &os.PathError{Op: "fsmount", Path: fstype, Err: err}
	}
	return fd, nil
}

// configure hands a file system its options.
func configure(fs int, options []string) (err error) {
	for _, opt := range options {
		key, value, ok := strings.Cut(opt, "=")
		if ok {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, key)
		}
		if err != nil {
			return refused(fs, opt, err)
		}
	}
	return nil
}

// refused is a file system's refusal of an option, in the kernel's own words
// where it has any: a descriptor of fsopen(2) can be read for them.
func refused(fs int, option string, err error) error {
	buf := make([]byte, 512)
	if n, e := unix.Read(fs, buf); e == nil && n > 2 {
		return fmt.Errorf("option %q: %w (%s)", option, err, strings.TrimSpace(string(buf[2:n]))) // "e " is its level
	}
	return fmt.Errorf("option %q: %w", option, err)
}

// withLabel adds the SELinux context of linux.mountLabel to the options of a new
// file system. The kernel's own ones are labelled by its policy.
func (p *initProcess) withLabel(fstype string, options []string) []string {
	if p.MountLabel == "" || slices.Contains([]string{"proc", "sysfs", "cgroup2", "mqueue"}, fstype) {
		return options
	}
	if slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "context=") }) {
		return options
	}
	return append(slices.Clip(options), "context="+p.MountLabel)
}

// withMode has a tmpfs that is given no mode look like the directory that it
// covers, and not writable for all, as the kernel would make it.
func (p *initProcess) withMode(destination string, options []string) []string {
	if slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "mode=") }) {
		return options
	}
	fd, err := openInRoot(p.root, clean(destination), unix.O_PATH)
	if err != nil {
		return options // it is yet to be made
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return options
	}
	return append(slices.Clip(options), fmt.Sprintf("mode=%o", st.Mode&0o7777))
}

// setAttributes applies ro, nosuid and the like to a detached mount.
func setAttributes(ctx context.Context, tree int, o mountOptions, where string) error {
	for _, a := range []struct {
		attr  unix.MountAttr
		flags uint
		text  string
	}{{o.attr, unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"}, {o.attrRecursive, unix.AT_EMPTY_PATH | unix.AT_RECURSIVE, "AT_EMPTY_PATH|AT_RECURSIVE"}} {
		if a.attr == (unix.MountAttr{}) {
			continue
		}
		chapter.Call(ctx, "what "+where+" must not allow", "mount_setattr(%d, \"\", %s, {attr_set=%#x, attr_clr=%#x}, %d)", tree, a.text, a.attr.Attr_set, a.attr.Attr_clr, unix.MOUNT_ATTR_SIZE_VER0)
		if err := unix.MountSetattr(tree, "", a.flags, &a.attr); err != nil {
			return os.NewSyscallError("mount_setattr", err)
		}
	}
	return nil
}

// attachAt attaches a detached mount at a path below the new root, where it
// makes the directory or file that is missing.
func attachAt(p *initProcess, tree int, destination, why string) error {
	var st unix.Stat_t
	if err := unix.Fstat(tree, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	open := touchInRoot
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		open = mkdirInRoot
	}
	target, err := open(p.root, destination)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	return attach(p, tree, target, cmp.Or(why, "it becomes "+destination+" of the new root"))
}

// attach puts a detached mount on target. Both are descriptors: no path is
// walked that someone could change.
func attach(p *initProcess, tree, target int, why string) error {
	chapter.Call(p.ctx, why, "move_mount(%d, \"\", %d, \"\", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)", tree, target)
	err := unix.MoveMount(tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	return os.NewSyscallError("move_mount", err)
}

// maskPaths covers paths that would tell or change too much: a file by
// /dev/null, a directory by an empty tmpfs. What the root does not have needs
// no mask.
func maskPaths(p *initProcess) error {
	for _, path := range p.MaskedPaths {
		target, err := p.openCovered(path)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return err
		}
		if err := mask(p, path, target); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func mask(p *initProcess, path string, target int) error {
	defer unix.Close(target)
	var st unix.Stat_t
	if err := unix.Fstat(target, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	var tree int
	var err error
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		tree, err = newFilesystem(p, "tmpfs", "tmpfs", mountOptions{
			attr: unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}, text: []string{"MOUNT_ATTR_RDONLY"}, data: []string{"nr_blocks=1", "nr_inodes=1"},
		})
	} else {
		// The host's: one that lies in the root could be anything, as a link to a file that is to be covered (CVE-2025-31133).
		tree, err = cloneDevice(p, os.DevNull, "c", unix.S_IFCHR, unix.Mkdev(1, 3))
	}
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return attach(p, tree, target, path+" is covered")
}

// readonlyPaths makes paths of the new root read-only by mounting them over themselves.
func readonlyPaths(p *initProcess) error {
	for _, path := range p.ReadonlyPaths {
		target, err := p.openCovered(path)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return err
		}
		if err := sealPath(p, path, target); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func sealPath(p *initProcess, path string, target int) error {
	defer unix.Close(target)
	chapter.Call(p.ctx, "a second mount of "+path, "open_tree(%d, \"\", AT_EMPTY_PATH|AT_RECURSIVE|OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC)", target)
	tree, err := unix.OpenTree(target, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("open_tree", err)
	}
	defer unix.Close(tree)
	if err := setAttributes(p.ctx, tree, mountOptions{attrRecursive: unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}}, path); err != nil {
		return err
	}
	return attach(p, tree, target, path+" can be read and not written")
}
