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

// What an archive may ask for. Whoever made it chose the numbers; the disk and
// the memory are ours. The bytes of all files together may not be more than
// the file system has free, which is looked up when unpacking begins; those of
// sparse files, which cost time and no room, not more than it has in all.
const (
	maxEntries = 10_000_000 // files, directories, links; Debian's largest images have 200,000
	maxDepth   = 512        // directories within directories
)

// Marks in an archive. Source: OCI image-spec, layer.md, "Whiteouts".
const (
	whiteoutPrefix = ".wh."
	opaqueMark     = ".wh..wh..opq"
	aufsPrefix     = ".wh..wh." // other notes of AUFS, which mean nothing here
)

// xattrRecord begins the PAX records that hold extended attributes.
const xattrRecord = "SCHILY.xattr."

// Unpack unpacks one layer, an uncompressed tar stream, into the directory
// root, in the form in which overlay wants it: a whiteout becomes a character
// device 0:0, an opaque directory gets the attribute trusted.overlay.opaque.
// It returns the sum of the sizes of the regular files, in bytes.
//
// The archive may be hostile: nothing is written, linked or changed outside
// root. An error leaves root half filled; [Store.Apply] is the caller that
// makes a layer appear whole or not at all.
//
// Needs root for owners, devices and trusted attributes. Root of a user
// namespace will do: the marks are then called user.overlay.*, as [Mount] wants
// them there, what only root of the host may make (devices, and attributes that
// begin with trusted. or security.) is left out, and an owner that the namespace
// does not have is an error. Errors are [errdefs.ErrInvalidArgument] where the
// archive is to blame.
func Unpack(ctx context.Context, root string, r io.Reader) (size int64, err error) {
	return Owners{}.Unpack(ctx, root, r)
}

// Unpack is [Unpack] for a layer whose owners are mapped.
func (o Owners) Unpack(ctx context.Context, root string, r io.Reader) (size int64, err error) {
	size, _, err = unpack(ctx, root, bufio.NewReaderSize(r, 1<<20), o)
	return size, err
}

// unpack is Unpack that also returns the directories that the archive has
// implied without an entry of their own, sorted.
func unpack(ctx context.Context, root string, r io.Reader, o Owners) (size int64, implied []string, err error) {
	t, err := openTree(root, o)
	if err != nil {
		return 0, nil, err
	}
	defer t.close()
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		return 0, nil, &os.PathError{Op: "statfs", Path: root, Err: err}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	u := &unpacker{
		tree:       t,
		attributes: newAttributes(t),
		room:       int64(st.Bavail) * st.Bsize,
		holes:      int64(st.Blocks) * st.Bsize,
	}
	u.writers = startWriters(cancel)
	err = u.run(ctx, tar.NewReader(r))
	u.writers.wait()
	// A writer's error stopped the run: it is the cause, not its consequence.
	if cause := context.Cause(ctx); cause != nil {
		return 0, nil, cause
	}
	if err == nil {
		implied, err = t.finish()
	}
	return u.size, implied, err
}

type unpacker struct {
	*tree
	attributes attributes
	writers    *writers
	size       int64 // bytes of regular files so far
	room       int64 // bytes that may still be written
	holes      int64 // bytes that sparse files may still pretend to have
}

// run unpacks every entry, up to the end of the archive.
func (u *unpacker) run(ctx context.Context, archive *tar.Reader) error {
	for n := 0; ; n++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return badArchive(err)
		}
		if n == maxEntries {
			return fmt.Errorf("more than %d entries: %w", maxEntries, errdefs.ErrInvalidArgument)
		}
		if err := u.entry(ctx, h, archive); err != nil {
			return fmt.Errorf("unpack %.200q: %w", h.Name, err)
		}
	}
}

// badArchive gives errors of the tar format their kind. Errors of the stream
// below (a connection that broke, a cancelled download) keep theirs.
func badArchive(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read layer: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	return fmt.Errorf("read layer: %w", err)
}

// entry unpacks one entry of the archive.
func (u *unpacker) entry(ctx context.Context, h *tar.Header, data io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // a comment on the archive, such as git's
	}
	name, err := inside(h.Name)
	if err != nil {
		return err
	}
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return fmt.Errorf("the root of a layer is a directory, not type %q: %w", h.Typeflag, errdefs.ErrInvalidArgument)
		}
		u.made["."] = &pending{header: h}
		return nil
	}
	parent, err := u.dir(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	if strings.HasPrefix(base, whiteoutPrefix) {
		return u.mark(parent, base)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		p, err := u.mkdir(parent, base)
		if err != nil {
			return err
		}
		p.header = h
		return nil
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return u.file(ctx, parent, base, h, data)
	case tar.TypeLink:
		return u.link(parent, base, h)
	case tar.TypeSymlink:
		return u.node(parent, base, h, "symlinkat", func() error { return unix.Symlinkat(h.Linkname, parent.fd, base) })
	case tar.TypeChar:
		if h.Devmajor == 0 && h.Devminor == 0 {
			// The archive of an upper directory, made without translation.
			return u.whiteout(parent, base)
		}
		return u.device(parent, base, h, unix.S_IFCHR)
	case tar.TypeBlock:
		return u.device(parent, base, h, unix.S_IFBLK)
	case tar.TypeFifo:
		return u.device(parent, base, h, unix.S_IFIFO)
	}
	return fmt.Errorf("type %q is unknown: %w", h.Typeflag, errdefs.ErrInvalidArgument)
}

// inside returns name, the name of an entry or the target of a hard link, as a
// clean path relative to the layer's root. Archives are written with and
// without a leading slash or dot; one that climbs out is no accident.
func inside(name string) (string, error) {
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", fmt.Errorf("%.200q leads out of the layer: %w", name, errdefs.ErrInvalidArgument)
	}
	return clean, nil
}

// mark does what the whiteout or note called base says. What the same layer
// brings under the hidden name stays, wherever in the archive it stands: marks
// speak of the layers below.
func (u *unpacker) mark(parent *dir, base string) error {
	if base == opaqueMark {
		p := u.made[parent.path]
		if p == nil {
			p = &pending{}
			u.made[parent.path] = p
		}
		p.opaque = true
		return nil
	}
	if strings.HasPrefix(base, aufsPrefix) {
		return nil
	}
	hidden := strings.TrimPrefix(base, whiteoutPrefix)
	if hidden == "" || hidden == "." || hidden == ".." {
		return fmt.Errorf("a whiteout that hides %q: %w", hidden, errdefs.ErrInvalidArgument)
	}
	return u.whiteout(parent, hidden)
}

// whiteout hides name, as the layers below have it.
func (u *unpacker) whiteout(parent *dir, name string) error {
	err := unix.Mknodat(parent.fd, name, unix.S_IFCHR, 0)
	if errors.Is(err, unix.EEXIST) {
		if p := u.made[parent.join(name)]; p != nil {
			p.opaque = true
		}
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "mknodat whiteout", Path: parent.join(name), Err: err}
	}
	return nil
}

// link makes a further name for a file of this layer.
func (u *unpacker) link(parent *dir, base string, h *tar.Header) error {
	target, err := inside(h.Linkname)
	if err != nil {
		return fmt.Errorf("hard link: %w", err)
	}
	at := parent.join(base)
	from, err := u.dir(path.Dir(target))
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
	}
	fd, err := unix.Openat(from.fd, path.Base(target), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		if errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("hard link to %q, which this layer does not have: %w", h.Linkname, errdefs.ErrInvalidArgument)
		}
		return &os.PathError{Op: "openat", Path: target, Err: err}
	}
	defer unix.Close(fd)
	if from.join(path.Base(target)) == at {
		return nil // a link to itself: making room for it would lose it
	}
	// The parent is looked up again: resolving the target may have closed it.
	parent, err = u.dir(parent.path)
	if err != nil {
		return err
	}
	return u.place(parent, base, func() error {
		// By way of /proc, because linking a bare descriptor needs a capability
		// (CAP_DAC_READ_SEARCH) that a user namespace does not give.
		if err := unix.Linkat(unix.AT_FDCWD, self(fd), parent.fd, base, unix.AT_SYMLINK_FOLLOW); err != nil {
			return &os.LinkError{Op: "linkat", Old: target, New: at, Err: err}
		}
		return nil
	})
}

// device makes a device node or a fifo, with exactly the numbers that the
// archive names, as every engine does: an image may hold /dev/null. It opens
// nothing by itself: no process of a container can use a device that its
// cgroup does not allow, and no user of the host can reach it, because the
// store's directory is root's alone.
func (u *unpacker) device(parent *dir, base string, h *tar.Header, kind uint32) error {
	if h.Devmajor < 0 || h.Devmajor > 1<<12-1 || h.Devminor < 0 || h.Devminor > 1<<20-1 {
		return fmt.Errorf("device number %d:%d: %w", h.Devmajor, h.Devminor, errdefs.ErrInvalidArgument)
	}
	if kind != unix.S_IFIFO && inUserNamespace() {
		return nil // the kernel makes devices for root of the host alone
	}
	dev := 0
	if kind != unix.S_IFIFO {
		dev = int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)))
	}
	return u.node(parent, base, h, "mknodat", func() error { return unix.Mknodat(parent.fd, base, kind, dev) })
}

// node makes a file that has no content and gives it its attributes.
func (u *unpacker) node(parent *dir, base string, h *tar.Header, op string, create func() error) error {
	at := parent.join(base)
	err := u.place(parent, base, func() error {
		if err := create(); err != nil {
			return &os.PathError{Op: op, Path: at, Err: err}
		}
		return nil
	})
	if err != nil {
		return err
	}
	fd, err := unix.Openat(parent.fd, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "openat", Path: at, Err: err}
	}
	defer unix.Close(fd)
	d := u.attributes
	if h.Typeflag != tar.TypeSymlink {
		d.exactMode = true // mknodat went through the umask
	}
	return d.apply(fd, h)
}

// pending is what is left to do for a directory when all entries are in it: its
// owner, mode, attributes and times. Earlier, each new file would change the
// times again, a set-group-ID bit would be inherited, and a default access
// list would change the modes of what comes after.
type pending struct {
	header *tar.Header // nil: implied, never named
	opaque bool
}

// finish gives every directory its attributes and returns the paths of those
// that have no entry, sorted. They get root as owner, mode 0755 and the time
// 0, which [Store.Lower] mends where a lower layer knows better.
func (t *tree) finish() (implied []string, err error) {
	all := newAttributes(t)
	all.exactMode = true
	for p, todo := range t.made {
		fd, err := openat2(t.fd, p, &unix.OpenHow{
			Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS,
		})
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			continue // a later entry has replaced it, or one of its parents
		}
		if err != nil {
			return nil, err
		}
		h := todo.header
		if h == nil {
			h = &tar.Header{Typeflag: tar.TypeDir, Mode: 0o755, ModTime: time.Unix(0, 0)}
			if !todo.opaque && p != "." {
				implied = append(implied, p)
			}
		}
		err = all.apply(fd, h)
		if err == nil && todo.opaque {
			err = unix.Fsetxattr(fd, opaqueXattr(), []byte("y"), 0)
		}
		unix.Close(fd)
		if err != nil {
			return nil, fmt.Errorf("attributes of directory %s: %w", p, err)
		}
	}
	slices.Sort(implied)
	return implied, nil
}
