//go:build linux

package overlayfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Kind says what has become of a path. The numbers are those of the Docker
// Engine API.
type Kind int

const (
	Changed Kind = 0 // its content or attributes, or, for a directory, what is in it
	Added   Kind = 1
	Deleted Kind = 2 // with everything below it
)

// String returns the letter that `docker diff` prints: C, A or D.
func (k Kind) String() string {
	if k < Changed || k > Deleted {
		return fmt.Sprintf("Kind(%d)", int(k))
	}
	return "CAD"[k : k+1]
}

// Change is one path of a container's root that is not as in its image.
type Change struct {
	Kind Kind
	Path string // absolute, as the container sees it
}

// Changes returns what upper changes in the merged view of lower (the topmost
// first), sorted by path. It reads upper only, and looks into lower where it
// must know whether a path was there: it costs what has been written, not what
// the image holds.
func Changes(ctx context.Context, upper string, lower []string) ([]Change, error) {
	fd, err := openDirectory(unix.AT_FDCWD, upper)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	c := &comparison{ctx: ctx}
	if err := c.directory(fd, lower, "/"); err != nil {
		return nil, fmt.Errorf("changes in %s: %w", upper, err)
	}
	slices.SortFunc(c.changes, func(a, b Change) int { return cmp.Compare(a.Path, b.Path) })
	return c.changes, nil
}

type comparison struct {
	ctx     context.Context
	changes []Change
}

func (c *comparison) add(kind Kind, path string) {
	c.changes = append(c.changes, Change{kind, path})
}

// directory compares the directory upper with lower, those directories of the
// layers that made up the same directory before. upper is a descriptor, because
// a running container may put a link in the place of a directory at any moment.
func (c *comparison) directory(upper int, lower []string, at string) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	opaque, err := isOpaque(self(upper) + "/.")
	if err != nil {
		return err
	}
	if n, err := unix.Fgetxattr(upper, redirectXattr(), nil); err == nil && n > 0 {
		return renamed(at)
	}
	names, err := readNames(upper)
	if err != nil {
		return &os.PathError{Op: "readdir", Path: at, Err: err}
	}
	if opaque {
		if err := c.hidden(names, lower, at); err != nil {
			return err
		}
	}
	for _, name := range names {
		path := filepath.Join(at, name)
		st, err := lstat(upper, name)
		if errors.Is(err, unix.ENOENT) {
			continue // a running container has removed it meanwhile
		}
		if err != nil {
			return &os.PathError{Op: "fstatat", Path: path, Err: err}
		}
		was, dirs, err := lookup(lower, name)
		if err != nil {
			return err
		}
		switch {
		case isWhiteout(&st):
			if was {
				c.add(Deleted, path)
			}
			continue
		case was:
			c.add(Changed, path)
		default:
			c.add(Added, path)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		fd, err := openDirectory(upper, name)
		if err != nil {
			return err
		}
		err = c.directory(fd, dirs, path)
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}

// hidden adds what an opaque directory, which holds names, has deleted.
func (c *comparison) hidden(names, lower []string, at string) error {
	gone := make(map[string]bool)
	for _, dir := range lower {
		fd, err := openDirectory(unix.AT_FDCWD, dir)
		if err != nil {
			return err
		}
		before, err := readNames(fd)
		unix.Close(fd)
		if err != nil {
			return &os.PathError{Op: "readdir", Path: dir, Err: err}
		}
		for _, name := range before {
			if _, stays := slices.BinarySearch(names, name); stays || gone[name] {
				continue
			}
			was, _, err := lookup(lower, name)
			if err != nil {
				return err
			}
			if was {
				gone[name] = true
				c.add(Deleted, filepath.Join(at, name))
			}
		}
	}
	return nil
}

// lookup says whether the merged view of dirs, the topmost first, has name.
// If it is a directory there, merged are the directories that make it up: down
// to the first layer that hides the rest.
func lookup(dirs []string, name string) (exists bool, merged []string, err error) {
	for _, dir := range dirs {
		at := filepath.Join(dir, name)
		var st unix.Stat_t
		err := unix.Lstat(at, &st)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return false, nil, &os.PathError{Op: "lstat", Path: at, Err: err}
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return exists || !isWhiteout(&st), merged, nil
		}
		exists, merged = true, append(merged, at)
		opaque, err := isOpaque(at)
		if err != nil {
			return false, nil, err
		}
		if opaque {
			break
		}
	}
	return exists, merged, nil
}

// openDirectory opens the directory name in the directory fd, and no link.
func openDirectory(fd int, name string) (int, error) {
	got, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "openat", Path: name, Err: err}
	}
	return got, nil
}
