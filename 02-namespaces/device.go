//go:build linux

package namespaces

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// defaultDevices are the devices that every container has
// (runtime-spec, config-linux.md#default-devices), with their numbers from the
// kernel's admin-guide/devices.txt.
var defaultDevices = []specs.LinuxDevice{
	{Path: "/dev/null", Type: "c", Major: 1, Minor: 3},
	{Path: "/dev/zero", Type: "c", Major: 1, Minor: 5},
	{Path: "/dev/full", Type: "c", Major: 1, Minor: 7},
	{Path: "/dev/random", Type: "c", Major: 1, Minor: 8},
	{Path: "/dev/urandom", Type: "c", Major: 1, Minor: 9},
	{Path: "/dev/tty", Type: "c", Major: 5, Minor: 0},
}

// deviceLinks are the links that programs expect in /dev.
var deviceLinks = [][2]string{
	{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
}

// makeDevices fills /dev, unless the container has the host's.
func makeDevices(p *initProcess) error {
	if own, _ := ownDev(p); !own {
		return nil
	}
	// mknod's mode would lose the bits of the umask.
	defer unix.Umask(unix.Umask(0))
	for _, d := range append(append([]specs.LinuxDevice{}, defaultDevices...), p.Devices...) {
		if err := makeDevice(p, d); err != nil {
			return fmt.Errorf("%s: %w", d.Path, err)
		}
	}
	dev, err := openInRoot(p.root, "dev", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(dev)
	for _, l := range deviceLinks {
		if err := unix.Symlinkat(l[0], dev, l[1]); err != nil && err != unix.EEXIST {
			return &os.PathError{Op: "symlinkat", Path: "/dev/" + l[1], Err: err}
		}
	}
	return nil
}

// ownDev says whether /dev is a new file system, and whether it is to be
// read-only: which it can only become when everything in it has been made.
func ownDev(p *initProcess) (own, readonly bool) {
	for _, m := range p.Mounts {
		if filepath.Clean(m.Destination) == "/dev" {
			o := parseMountOptions(m.Options)
			own, readonly = m.Type != "bind" && !o.bind, o.attr.Attr_set&unix.MOUNT_ATTR_RDONLY != 0
		}
	}
	return own, own && readonly
}

func makeDevice(p *initProcess, d specs.LinuxDevice) error {
	types := map[string]uint32{"c": unix.S_IFCHR, "u": unix.S_IFCHR, "b": unix.S_IFBLK, "p": unix.S_IFIFO}
	kind, ok := types[d.Type]
	if !ok {
		return fmt.Errorf("type %q is none of c, u, b, p", d.Type)
	}
	mode := fs.FileMode(0o666)
	if d.FileMode != nil {
		mode = d.FileMode.Perm()
	}
	parent, err := mkdirInRoot(p.root, filepath.Dir(d.Path))
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	name := filepath.Base(d.Path)
	number := unix.Mkdev(uint32(d.Major), uint32(d.Minor))
	chapter.Call(p.ctx, d.Path+" of the new root", "mknodat(%d, %q, S_IFCHR|%#o, makedev(%#x, %#x))", parent, name, mode, d.Major, d.Minor)
	err = unix.Mknodat(parent, name, kind|uint32(mode), int(number))
	switch {
	case errors.Is(err, unix.EPERM):
		// In a user namespace nobody may make devices: the host's own serves as well.
		tree, err := cloneDevice(p, d.Path, d.Type, kind, number)
		if err != nil {
			return err
		}
		defer unix.Close(tree)
		return attachAt(p, tree, d.Path, "")
	case errors.Is(err, unix.EEXIST):
		var st unix.Stat_t
		if err := unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return os.NewSyscallError("fstatat", err)
		}
		if st.Mode&unix.S_IFMT != kind || st.Rdev != number {
			return fmt.Errorf("something else is there already (mode %#o, device %d:%d)", st.Mode, unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		return nil
	case err != nil:
		return os.NewSyscallError("mknodat", err)
	}
	if d.UID == nil && d.GID == nil {
		return nil
	}
	uid, gid := -1, -1
	if d.UID != nil {
		uid = int(*d.UID)
	}
	if d.GID != nil {
		gid = int(*d.GID)
	}
	return os.NewSyscallError("fchownat", unix.Fchownat(parent, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW))
}

// cloneDevice returns a mount of the host's device at path, which must be the
// one of this kind (S_IFCHR …, letter for messages) and number.
func cloneDevice(p *initProcess, path, letter string, kind uint32, number uint64) (int, error) {
	tree, err := cloneTree(p.ctx, path, false)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	err = unix.Fstat(tree, &st)
	if err == nil && (st.Mode&unix.S_IFMT != kind || st.Rdev != number) {
		err = fmt.Errorf("the host's %s is not the device %s %d:%d", path, letter, unix.Major(number), unix.Minor(number))
	}
	if err != nil {
		unix.Close(tree)
		return -1, err
	}
	return tree, nil
}
