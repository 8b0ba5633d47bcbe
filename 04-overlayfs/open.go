//go:build linux

package overlayfs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links a path may lead through, as in the kernel.
const maxLinks = 40

// Open opens for reading a regular file of the merged view of layers, the topmost first, without
// mounting them: an engine that wants a look at /etc/passwd before the container is there. The
// layers are untrusted. Symbolic links are followed as a process in that root would follow them,
// and none leads out of it. Errors are *fs.PathError with the kernel's numbers.
func Open(layers []string, name string) (*os.File, error) {
	fail := func(err error) error { return &fs.PathError{Op: "open", Path: name, Err: err} }
	// place is a directory of the merged view and the layers that have a part in it.
	type place struct {
		path   string
		layers []string
	}
	way := []place{{".", layers}}
	todo := strings.Split(name, "/")
	for links := 0; len(todo) > 0; {
		step := todo[0]
		todo = todo[1:]
		if step == "" || step == "." {
			continue
		}
		if step == ".." {
			way = way[:max(1, len(way)-1)] // the root's parent is the root
			continue
		}
		here := way[len(way)-1]
		next := place{path: path.Join(here.path, step)}
		found, err := lookUp(here.layers, next.path)
		if err != nil {
			return nil, fail(err)
		}
		switch {
		case found.link != "":
			if links++; links > maxLinks {
				return nil, fail(unix.ELOOP)
			}
			if path.IsAbs(found.link) {
				way = way[:1]
			}
			todo = append(strings.Split(found.link, "/"), todo...)
		case found.file != nil:
			if len(todo) > 0 {
				found.file.Close()
				return nil, fail(unix.ENOTDIR)
			}
			return found.file, nil
		default:
			next.layers = found.layers
			way = append(way, next)
		}
	}
	return nil, fail(unix.EISDIR)
}

// entry is what one name is in the merged view: a file, a symbolic link, or a directory that some
// of the layers have a part in.
type entry struct {
	file   *os.File
	link   string
	layers []string
}

// lookUp finds out what the merged view has at a path whose parent directory consists of layers.
func lookUp(layers []string, name string) (entry, error) {
	var e entry
	for _, layer := range layers {
		found, done, err := e.add(layer, name)
		if err != nil {
			return entry{}, err
		}
		if e = found; done {
			break
		}
	}
	if e.file == nil && e.link == "" && e.layers == nil {
		return e, unix.ENOENT
	}
	return e, nil
}

// add returns e with what layer, the next one below, adds to it, and whether that hides the
// layers further below.
func (e entry) add(layer, name string) (_ entry, done bool, err error) {
	root, err := unix.Open(layer, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return e, false, err
	}
	defer unix.Close(root)
	// O_PATH: what lies there may be a device, which to open is to act on.
	fd, err := openat2(root, name, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return e, false, nil
	}
	if err != nil {
		return e, false, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return e, false, err
	}
	kind := st.Mode & unix.S_IFMT
	switch {
	case kind == unix.S_IFDIR:
		e.layers = append(e.layers, layer)
		opaque := make([]byte, 1)
		n, err := unix.Getxattr(self(fd), opaqueXattr(), opaque)
		return e, err == nil && n == 1 && opaque[0] == 'y', nil
	case e.layers != nil: // hidden by the directories above it
		return e, true, nil
	case isWhiteout(&st):
		return e, true, nil
	case kind == unix.S_IFLNK:
		target := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(fd, "", target)
		if err != nil {
			return e, true, err
		}
		e.link = string(target[:n])
		return e, true, nil
	case kind == unix.S_IFREG:
		e.file, err = os.Open(self(fd))
		return e, true, err
	default:
		return e, true, unix.EINVAL
	}
}
