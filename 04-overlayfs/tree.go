//go:build linux

package overlayfs

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// A tree is the directory of one layer while an archive that nobody vouches
// for is unpacked into it. No path of the archive is ever handed to the kernel
// to be resolved from the host's root: the parent directory is opened below
// the tree by openat2(2), once, and everything else is a *at call with one
// name, relative to that descriptor, that follows no link.
type tree struct {
	fd   int    // the layer's root directory
	real string // its path on the host, to make resolved paths relative

	// Archives come sorted by directory, so a handful of descriptors spares
	// nearly all resolving. They are forgotten whenever a name is removed,
	// because a cached path may have gone through it.
	cache [8]*dir
	next  int

	// made holds what is left to do for each directory that the archive has
	// named or implied, by its path below the root without symbolic links.
	made map[string]*pending

	owners Owners
}

// dir is an open directory of the tree.
type dir struct {
	asked string // the path that was resolved
	path  string // the path that it has, free of symbolic links; "." is the root
	fd    int    // O_PATH
}

// join returns the path of name in d.
func (d *dir) join(name string) string { return path.Join(d.path, name) }

func openTree(root string, o Owners) (*tree, error) {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: root, Err: err}
	}
	real, err := os.Readlink(self(fd))
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &tree{fd: fd, real: real, made: make(map[string]*pending), owners: o}, nil
}

func (t *tree) close() {
	t.forget()
	unix.Close(t.fd)
}

// forget closes the cached directories.
func (t *tree) forget() {
	for i, d := range t.cache {
		if d != nil {
			unix.Close(d.fd)
			t.cache[i] = nil
		}
	}
}

// dir returns the directory named p, a clean relative path, and makes it and
// its parents where the archive has left them out. The descriptor belongs to
// the tree and is good until the next call of dir or remove.
func (t *tree) dir(p string) (*dir, error) {
	for _, d := range t.cache {
		if d != nil && d.asked == p {
			return d, nil
		}
	}
	d, err := t.open(p)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		d, err = t.imply(p)
	}
	if err != nil {
		return nil, err
	}
	if old := t.cache[t.next]; old != nil {
		unix.Close(old.fd)
	}
	t.cache[t.next] = d
	t.next = (t.next + 1) % len(t.cache)
	return d, nil
}

// open resolves p below the root. A symbolic link on the way is followed as a
// process with its root here would follow it (RESOLVE_IN_ROOT), so that no
// link leads out, however it is written and whenever it was made.
func (t *tree) open(p string) (*dir, error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS,
	}
	fd, err := openat2(t.fd, p, &how)
	if err == nil {
		return &dir{asked: p, path: p, fd: fd}, nil
	}
	if !errors.Is(err, unix.ELOOP) {
		return nil, err
	}
	how.Resolve = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	fd, err = openat2(t.fd, p, &how)
	if err != nil {
		return nil, err
	}
	real, err := os.Readlink(self(fd))
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	rel := "."
	if real != t.real {
		rel = strings.TrimPrefix(real, strings.TrimSuffix(t.real, "/")+"/")
	}
	return &dir{asked: p, path: rel, fd: fd}, nil
}

// openat2 is openat2(2), again when a rename somewhere in the system made the
// kernel unsure whether a ".." stayed below the root.
func openat2(fd int, p string, how *unix.OpenHow) (int, error) {
	for range 128 {
		got, err := unix.Openat2(fd, p, how)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return -1, &os.PathError{Op: "openat2", Path: p, Err: err}
		}
		return got, nil
	}
	return -1, &os.PathError{Op: "openat2", Path: p, Err: unix.EAGAIN}
}

// imply makes the directory p, which an entry below it takes for granted.
func (t *tree) imply(p string) (*dir, error) {
	parent, err := t.dir(path.Dir(p))
	if err != nil {
		return nil, err
	}
	name := path.Base(p)
	st, err := lstat(parent.fd, name)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		// Where it leads in the whole image only the layers below know, and
		// they may not even be here yet.
		return nil, fmt.Errorf("%s is below a symbolic link that leads nowhere in this layer: %w", p, errdefs.ErrInvalidArgument)
	}
	if _, err := t.mkdir(parent, name); err != nil {
		return nil, err
	}
	d, err := t.open(parent.join(name))
	if err != nil {
		return nil, err
	}
	d.asked = p
	return d, nil
}

// mkdir makes the directory name in parent and returns what is left to do for
// it. A directory that is there stays. What else is there goes, and then the
// new directory is opaque: whatever the layers below have under this name has
// been replaced.
func (t *tree) mkdir(parent *dir, name string) (*pending, error) {
	at := parent.join(name)
	if strings.Count(at, "/") >= maxDepth {
		return nil, fmt.Errorf("%.60s…: directories more than %d deep: %w", at, maxDepth, errdefs.ErrInvalidArgument)
	}
	// 0700 until the end: see pending.
	err := unix.Mkdirat(parent.fd, name, 0o700)
	replaced := false
	if errors.Is(err, unix.EEXIST) {
		st, staterr := lstat(parent.fd, name)
		if staterr != nil {
			return nil, &os.PathError{Op: "fstatat", Path: at, Err: staterr}
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			if t.made[at] == nil {
				t.made[at] = &pending{}
			}
			return t.made[at], nil
		}
		if err := t.remove(parent, name); err != nil {
			return nil, err
		}
		replaced = true
		err = unix.Mkdirat(parent.fd, name, 0o700)
	}
	if err != nil {
		return nil, &os.PathError{Op: "mkdirat", Path: at, Err: err}
	}
	t.made[at] = &pending{opaque: replaced}
	return t.made[at], nil
}

// place calls create, which makes name in parent, and makes room for it first
// when an earlier entry of the archive has taken the name.
func (t *tree) place(parent *dir, name string, create func() error) error {
	err := create()
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := t.remove(parent, name); err != nil {
		return err
	}
	return create()
}

// remove removes name from parent, with everything below it.
func (t *tree) remove(parent *dir, name string) error {
	for _, d := range t.cache {
		if d != nil {
			d.asked = "" // its path may have led through name
		}
	}
	if err := removeAt(parent.fd, name); err != nil {
		return fmt.Errorf("replace %s: %w", parent.join(name), err)
	}
	return nil
}

// removeAt is rm -r for one name in the directory fd.
func removeAt(fd int, name string) error {
	err := unix.Unlinkat(fd, name, 0)
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	sub, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(sub), name)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := removeAt(sub, n); err != nil {
			return err
		}
	}
	return unix.Unlinkat(fd, name, unix.AT_REMOVEDIR)
}

// lstat is fstatat(2) that follows no link.
func lstat(fd int, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

// isWhiteout says whether st is a character device 0:0, by which overlay marks
// a name that the layers below have and the merged directory has not.
func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}
