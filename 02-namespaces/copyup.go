//go:build linux

package namespaces

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// copyUp fills a new tmpfs, not yet attached, with what the root has at its
// place: the mount option tmpcopyup. Both sides are descriptors, and no
// symbolic link is followed: what is copied is untrusted.
func copyUp(p *initProcess, tree int, destination string, o mountOptions) error {
	from, err := openInRoot(p.root, clean(destination), unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	chapter.Call(p.ctx, "the empty tmpfs gets a copy of what stands at its place", "openat(%d, \".\", O_RDONLY|O_CLOEXEC|O_DIRECTORY)", tree)
	to, err := unix.Openat(tree, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(from)
		return &os.PathError{Op: "openat", Path: destination, Err: err}
	}
	readonly := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if sealed := o.attr.Attr_set&unix.MOUNT_ATTR_RDONLY != 0; sealed {
		if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}); err != nil {
			return os.NewSyscallError("mount_setattr", err)
		}
		defer unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &readonly)
	}
	return copyDirectory(os.NewFile(uintptr(from), destination), os.NewFile(uintptr(to), destination))
}

// copyDirectory copies the entries, owners and modes of a directory, and closes
// both. Sockets, fifos and devices are left out.
func copyDirectory(from, to *os.File) error {
	defer from.Close()
	defer to.Close()
	if err := copyAttributes(from, to); err != nil {
		return err
	}
	names, err := from.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyEntry(from, to, name); err != nil {
			return err
		}
	}
	return nil
}

func copyEntry(from, to *os.File, name string) error {
	in, out, where := int(from.Fd()), int(to.Fd()), filepath.Join(from.Name(), name)
	fail := func(op string, err error) error { return &os.PathError{Op: op, Path: where, Err: err} }
	var st unix.Stat_t
	if err := unix.Fstatat(in, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fail("fstatat", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		target := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(in, name, target)
		if err != nil {
			return fail("readlinkat", err)
		}
		if err := unix.Symlinkat(string(target[:n]), out, name); err != nil {
			return fail("symlinkat", err)
		}
		if err := unix.Fchownat(out, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fail("fchownat", err)
		}
	case unix.S_IFDIR:
		if err := unix.Mkdirat(out, name, 0o700); err != nil {
			return fail("mkdirat", err)
		}
		a, b, err := openBoth(in, out, name, unix.O_RDONLY|unix.O_DIRECTORY, unix.O_RDONLY|unix.O_DIRECTORY, where)
		if err != nil {
			return err
		}
		return copyDirectory(a, b)
	case unix.S_IFREG:
		a, b, err := openBoth(in, out, name, unix.O_RDONLY, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, where)
		if err != nil {
			return err
		}
		defer a.Close()
		defer b.Close()
		if _, err := io.Copy(b, a); err != nil {
			return fmt.Errorf("copy %s: %w", where, err)
		}
		return copyAttributes(a, b)
	}
	return nil
}

func openBoth(in, out int, name string, read, write int, where string) (a, b *os.File, err error) {
	x, err := unix.Openat(in, name, read|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "openat", Path: where, Err: err}
	}
	y, err := unix.Openat(out, name, write|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		unix.Close(x)
		return nil, nil, &os.PathError{Op: "openat", Path: where, Err: err}
	}
	return os.NewFile(uintptr(x), where), os.NewFile(uintptr(y), where), nil
}

// copyAttributes gives a copy the owner and mode of its original, the owner
// first: a change of owner clears set-user-ID.
func copyAttributes(from, to *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return &os.PathError{Op: "fstat", Path: from.Name(), Err: err}
	}
	if err := to.Chown(int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := unix.Fchmod(int(to.Fd()), st.Mode&0o7777); err != nil {
		return &os.PathError{Op: "fchmod", Path: to.Name(), Err: err}
	}
	return nil
}
