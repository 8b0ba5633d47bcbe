//go:build linux

package overlayfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Size returns how much a container has written: the sum of the sizes of the
// regular files in upper, in bytes, a file with several names counted once. It
// is the SizeRw of the Docker Engine API; SizeRootFs is this and the [Store.Size]
// of every layer below. The disk may hold less, where files are sparse, or more,
// where they do not fill their last block.
//
// A container may go on writing meanwhile: what it removes is not counted, and
// nothing that it does leads out of upper.
func Size(ctx context.Context, upper string) (int64, error) {
	fd, err := openDirectory(unix.AT_FDCWD, upper)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	size, err := sizeOf(ctx, fd, ".", make(map[inode]bool))
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", upper, err)
	}
	return size, nil
}

// sizeOf is Size of the directory fd without the files in counted.
func sizeOf(ctx context.Context, fd int, at string, counted map[inode]bool) (int64, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	names, err := readNames(fd)
	if err != nil {
		return 0, &os.PathError{Op: "readdir", Path: at, Err: err}
	}
	var size int64
	for _, name := range names {
		st, err := lstat(fd, name)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return 0, &os.PathError{Op: "fstatat", Path: path.Join(at, name), Err: err}
		}
		switch id := (inode{st.Dev, st.Ino}); st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			if st.Nlink == 1 || !counted[id] {
				size += st.Size
			}
			if st.Nlink > 1 {
				counted[id] = true
			}
		case unix.S_IFDIR:
			sub, err := openDirectory(fd, name)
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
				continue // it is no directory any more
			}
			if err != nil {
				return 0, err
			}
			n, err := sizeOf(ctx, sub, path.Join(at, name), counted)
			unix.Close(sub)
			if err != nil {
				return 0, err
			}
			size += n
		}
	}
	return size, nil
}
