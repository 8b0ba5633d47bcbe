//go:build linux

package overlayfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Overlay keeps its own notes about a file in extended attributes of these
// names. They are instructions to the kernel, never content of a layer: an
// archive may not bring them, and a diff does not carry them.
//
// Only root of the host may write attributes that begin with "trusted.". For
// root of a user namespace there is the mount option userxattr, with which the
// kernel reads, and writes, the other names, and those alone.
//
// Source: Documentation/filesystems/overlayfs.rst.
const (
	overlayXattr     = "trusted.overlay."
	overlayUserXattr = "user.overlay."
)

// The notes' names, as this process writes and reads them.
func opaqueXattr() string   { return noteXattr() + "opaque" }
func redirectXattr() string { return noteXattr() + "redirect" }
func metacopyXattr() string { return noteXattr() + "metacopy" }

func noteXattr() string {
	if inUserNamespace() {
		return overlayUserXattr
	}
	return overlayXattr
}

// inUserNamespace says whether this process is in another user namespace than
// the first one: its root is not root of the host, overlays are mounted with
// userxattr, and devices cannot be made. A program with threads, as every Go
// program is, stays where it began.
var inUserNamespace = sync.OnceValue(func() bool {
	var st unix.Stat_t
	// The first namespace has had this inode since Linux 3.8 (linux/nsfs.h).
	return unix.Stat("/proc/self/ns/user", &st) == nil && st.Ino != 0xEFFFFFFD
})

// isOverlayXattr says whether name is one of overlay's own notes.
func isOverlayXattr(name string) bool {
	return strings.HasPrefix(name, overlayXattr) || strings.HasPrefix(name, overlayUserXattr)
}

// self returns a path that leads to the very file behind fd, whatever its type
// and whatever its name has become. It is how calls that know only paths are
// used on a descriptor that was opened with O_PATH.
func self(fd int) string {
	return fmt.Sprintf("/proc/self/fd/%d", fd)
}

// isOpaque says whether the directory at path hides what lies below it in the
// stack.
func isOpaque(path string) (bool, error) {
	var value [2]byte
	n, err := unix.Lgetxattr(path, opaqueXattr(), value[:])
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ERANGE) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "getxattr " + opaqueXattr(), Path: path, Err: err}
	}
	return string(value[:n]) == "y", nil
}

// xattrs returns the extended attributes of the file at path, overlay's own
// included, and does not follow path's last link. A file system without any
// has none.
func xattrs(path string) (map[string]string, error) {
	return collect(path,
		func(b []byte) (int, error) { return unix.Llistxattr(path, b) },
		func(name string, b []byte) (int, error) { return unix.Lgetxattr(path, name, b) })
}

// fxattrs is xattrs for an open file.
func fxattrs(fd int) (map[string]string, error) {
	return collect(self(fd),
		func(b []byte) (int, error) { return unix.Flistxattr(fd, b) },
		func(name string, b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
}

func collect(path string, list func([]byte) (int, error), get func(string, []byte) (int, error)) (map[string]string, error) {
	names, err := grow(list)
	if errors.Is(err, unix.ENOTSUP) || len(names) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: path, Err: err}
	}
	attrs := make(map[string]string)
	for _, b := range bytes.Split(bytes.TrimSuffix(names, []byte{0}), []byte{0}) {
		name := string(b)
		value, err := grow(func(b []byte) (int, error) { return get(name, b) })
		if errors.Is(err, unix.ENODATA) {
			continue // removed since the list was made
		}
		if err != nil {
			return nil, &os.PathError{Op: "getxattr " + name, Path: path, Err: err}
		}
		attrs[name] = string(value)
	}
	return attrs, nil
}

// grow calls get with a larger buffer until its answer fits.
func grow(get func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 4 {
		b := make([]byte, size)
		n, err := get(b)
		if errors.Is(err, unix.ERANGE) && size < 1<<20 {
			continue
		}
		if err != nil {
			return nil, err
		}
		return b[:n], nil
	}
}
