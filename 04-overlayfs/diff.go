//go:build linux

package overlayfs

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Diff writes the upper directory of an overlay to w as a layer: an
// uncompressed tar whose whiteouts and opaque directories are written as the
// OCI image-spec says. [Unpack] is its inverse: unpacking the layer gives the
// same directory again, with owners, modes, times to the nanosecond, extended
// attributes and hard links.
//
// The same directory always gives the same bytes: entries are sorted by name,
// and nothing is in them that reading or copying would change (access times,
// inode numbers, names of users). Sockets are left out: a layer cannot hold
// them. Holes of sparse files are written as zeros, and long ones of large files
// are holes again when the layer is unpacked.
//
// A container may go on writing meanwhile. What it does cannot lead the walk
// out of upper; a file that shrinks while it is read is an error
// ([errdefs.ErrUnavailable]), and a consistent layer needs a paused container.
func Diff(ctx context.Context, upper string, w io.Writer) error {
	return Owners{}.Diff(ctx, upper, w)
}

// Diff is [Diff] for an upper directory whose owners are mapped.
func (o Owners) Diff(ctx context.Context, upper string, w io.Writer) error {
	fd, err := unix.Open(upper, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: upper, Err: err}
	}
	defer unix.Close(fd)
	buffered := bufio.NewWriterSize(w, 1<<20)
	d := &differ{w: tar.NewWriter(buffered), owners: o, links: make(map[inode]string), buf: make([]byte, 256<<10)}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "fstat", Path: upper, Err: err}
	}
	if err := d.directory(ctx, fd, ".", &st); err != nil {
		return fmt.Errorf("diff of %s: %w", upper, err)
	}
	if err := d.w.Close(); err != nil {
		return fmt.Errorf("diff of %s: %w", upper, err)
	}
	return buffered.Flush()
}

type differ struct {
	w      *tar.Writer
	owners Owners
	links  map[inode]string // files with several names: the first of them
	buf    []byte
}

type inode struct{ dev, ino uint64 }

// directory writes the entry of the directory fd, and what is in it.
func (d *differ) directory(ctx context.Context, fd int, name string, st *unix.Stat_t) error {
	attrs, err := fxattrs(fd)
	if err != nil {
		return err
	}
	if attrs[redirectXattr()] != "" {
		return renamed(name)
	}
	h, err := d.header(tar.TypeDir, name+"/", st, attrs)
	if err != nil {
		return err
	}
	if err := d.w.WriteHeader(h); err != nil {
		return err
	}
	if attrs[opaqueXattr()] == "y" {
		if err := d.mark(path.Join(name, opaqueMark)); err != nil {
			return err
		}
	}
	entries, err := readNames(fd)
	if err != nil {
		return &os.PathError{Op: "readdir", Path: name, Err: err}
	}
	for _, base := range entries {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := d.entry(ctx, fd, base, path.Join(name, base)); err != nil {
			return err
		}
	}
	return nil
}

// renamed is the error for a directory whose content is elsewhere.
func renamed(name string) error {
	return fmt.Errorf("%s is a renamed directory (%s), with its content elsewhere: mount with redirect_dir=off: %w", name, redirectXattr(), errdefs.ErrFailedPrecondition)
}

// readNames returns the names in the directory fd, sorted.
func readNames(fd int) ([]string, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(dup), "")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// entry writes the file base in the directory parent, with everything below it.
func (d *differ) entry(ctx context.Context, parent int, base, name string) error {
	st, err := lstat(parent, base)
	if errors.Is(err, unix.ENOENT) {
		return nil // removed since the directory was read
	}
	if err != nil {
		return &os.PathError{Op: "fstatat", Path: name, Err: err}
	}
	if isWhiteout(&st) {
		return d.mark(path.Join(path.Dir(name), whiteoutPrefix+base))
	}
	if strings.HasPrefix(base, whiteoutPrefix) {
		return fmt.Errorf("%s: in a layer this name would hide a file: %w", name, errdefs.ErrInvalidArgument)
	}
	kind := st.Mode & unix.S_IFMT
	id := inode{st.Dev, st.Ino}
	if kind != unix.S_IFDIR && st.Nlink > 1 {
		if first, ok := d.links[id]; ok {
			h, err := d.header(tar.TypeLink, name, &st, nil)
			if err != nil {
				return err
			}
			h.Linkname = first
			return d.w.WriteHeader(h)
		}
		d.links[id] = name
	}
	switch kind {
	case unix.S_IFDIR, unix.S_IFREG:
		// Not blocking, not following: between the look and the opening the
		// container may have put a fifo or a link there.
		fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "openat", Path: name, Err: err}
		}
		defer unix.Close(fd)
		if err := unix.Fstat(fd, &st); err != nil {
			return &os.PathError{Op: "fstat", Path: name, Err: err}
		}
		if st.Mode&unix.S_IFMT != kind {
			return fmt.Errorf("%s has changed its type while it was read: %w", name, errdefs.ErrUnavailable)
		}
		if kind == unix.S_IFDIR {
			return d.directory(ctx, fd, name, &st)
		}
		return d.file(ctx, fd, name, &st)
	case unix.S_IFSOCK:
		delete(d.links, id)
		return nil
	}
	attrs, err := xattrs(self(parent) + "/" + base)
	if err != nil {
		return err
	}
	types := map[uint32]byte{unix.S_IFLNK: tar.TypeSymlink, unix.S_IFCHR: tar.TypeChar, unix.S_IFBLK: tar.TypeBlock, unix.S_IFIFO: tar.TypeFifo}
	h, err := d.header(types[kind], name, &st, attrs)
	if err != nil {
		return err
	}
	if kind == unix.S_IFLNK {
		target, err := grow(func(b []byte) (int, error) {
			n, err := unix.Readlinkat(parent, base, b)
			if n == len(b) {
				err = unix.ERANGE // it may have been cut
			}
			return n, err
		})
		if err != nil {
			return &os.PathError{Op: "readlinkat", Path: name, Err: err}
		}
		h.Linkname = string(target)
	}
	return d.w.WriteHeader(h)
}

// file writes a regular file.
func (d *differ) file(ctx context.Context, fd int, name string, st *unix.Stat_t) error {
	attrs, err := fxattrs(fd)
	if err != nil {
		return err
	}
	if _, ok := attrs[metacopyXattr()]; ok {
		return fmt.Errorf("%s has no content of its own (%s): mount with metacopy=off: %w", name, metacopyXattr(), errdefs.ErrFailedPrecondition)
	}
	h, err := d.header(tar.TypeReg, name, st, attrs)
	if err != nil {
		return err
	}
	h.Size = st.Size
	if err := d.w.WriteHeader(h); err != nil {
		return err
	}
	for left := st.Size; left > 0; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := unix.Read(fd, d.buf[:min(left, int64(len(d.buf)))])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "read", Path: name, Err: err}
		}
		if n == 0 {
			return fmt.Errorf("%s has become shorter while it was read: %w", name, errdefs.ErrUnavailable)
		}
		if _, err := d.w.Write(d.buf[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

// mark writes a whiteout or the mark of an opaque directory: an empty file.
func (d *differ) mark(name string) error {
	return d.w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, ModTime: time.Unix(0, 0)})
}

// header returns the entry for a file, without its size.
func (d *differ) header(kind byte, name string, st *unix.Stat_t, attrs map[string]string) (*tar.Header, error) {
	uid, err := inArchive(d.owners.UIDs, int(st.Uid))
	if err != nil {
		return nil, fmt.Errorf("owner of %s: %w", name, err)
	}
	gid, err := inArchive(d.owners.GIDs, int(st.Gid))
	if err != nil {
		return nil, fmt.Errorf("group of %s: %w", name, err)
	}
	h := &tar.Header{
		Format:   tar.FormatPAX,
		Typeflag: kind,
		Name:     name,
		Mode:     int64(st.Mode & 0o7777),
		Uid:      uid,
		Gid:      gid,
		ModTime:  time.Unix(st.Mtim.Unix()),
	}
	if kind == tar.TypeChar || kind == tar.TypeBlock {
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}
	for k, v := range attrs {
		if isOverlayXattr(k) {
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = make(map[string]string)
		}
		v, err := d.owners.translate(k, v, inArchive)
		if err != nil {
			return nil, fmt.Errorf("attributes of %s: %w", name, err)
		}
		h.PAXRecords[xattrRecord+k] = v
	}
	return h, nil
}
