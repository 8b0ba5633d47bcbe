//go:build linux

package chroot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Build makes the directory root, and copies programs into it with all that
// they need to start, each file where the host has it. A program is a path or a
// name to look up in $PATH. What root holds already stays, but for the files
// that are copied again. Ownership is not copied: everything is the caller's.
func Build(ctx context.Context, root string, programs ...string) error {
	var files []File
	for _, p := range programs {
		path, err := lookUp(p)
		if err != nil {
			return err
		}
		needed, err := Needs(path)
		if err != nil {
			return err
		}
		files = append(files, needed...)
	}
	return Copy(ctx, root, files...)
}

// lookUp returns the absolute path of a program.
func lookUp(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// Copy copies files of the host into the directory root, as [Build] does.
func Copy(ctx context.Context, root string, files ...File) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	// Someone who is root in the jail may have put a symbolic link into it that
	// leads to the host's /etc. os.Root never follows one out of the directory.
	r, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := refuseHostRoot(r); err != nil {
		return err
	}
	b := builder{root: r, done: map[string]bool{}}
	for _, f := range files {
		if err := b.add(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

func refuseHostRoot(r *os.Root) error {
	ours, err := r.Stat(".")
	if err != nil {
		return err
	}
	host, err := os.Stat("/")
	if err != nil {
		return err
	}
	if os.SameFile(ours, host) {
		return fmt.Errorf("build a root file system in %s: that is the host's own /", r.Name())
	}
	return nil
}

// builder copies files from the host into root.
type builder struct {
	root *os.Root
	// done holds the host's paths that need no second look.
	done map[string]bool
}

// add copies the file with the directories and the symbolic links on the way
// to it: /bin/sh may be sh -> dash in a directory bin -> usr/bin.
func (b *builder) add(ctx context.Context, f File) error {
	dir, rest := "/", split(f.Path)
	onTheWay := "on the way to " + f.Path
	for links := 0; len(rest) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if rest[0] == ".." {
			dir, rest = filepath.Dir(dir), rest[1:]
			continue
		}
		path := filepath.Join(dir, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			if links++; links > 40 { // as the kernel: path_resolution(7)
				return &os.PathError{Op: "copy", Path: f.Path, Err: unix.ELOOP}
			}
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			if err := b.symlink(ctx, path, target, onTheWay); err != nil {
				return err
			}
			if filepath.IsAbs(target) {
				dir = "/"
			}
			rest = append(split(target), rest...)
		case info.IsDir():
			if err := b.mkdir(ctx, path, info.Mode().Perm(), onTheWay); err != nil {
				return err
			}
			dir = path
		default:
			return b.copy(ctx, path, f.Why)
		}
	}
	return &os.PathError{Op: "copy", Path: f.Path, Err: unix.EISDIR}
}

func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// call narrates an operation on path, which os.Root makes relative to an open
// directory, as strace -y shows it.
func (b *builder) call(ctx context.Context, why, path, before, after string) {
	dir, name := filepath.Split(filepath.Join(b.root.Name(), path))
	chapter.Call(ctx, why, before+"<%s>, %q"+after, filepath.Clean(dir), name)
}

func (b *builder) mkdir(ctx context.Context, path string, perm fs.FileMode, why string) error {
	if b.done[path] {
		return nil
	}
	b.done[path] = true
	if info, err := b.root.Stat(path[1:]); err == nil && info.IsDir() {
		return nil
	}
	b.call(ctx, why, path, "mkdirat(", fmt.Sprintf(", %#o)", perm))
	return b.root.Mkdir(path[1:], perm)
}

func (b *builder) symlink(ctx context.Context, path, target, why string) error {
	if b.done[path] {
		return nil
	}
	b.done[path] = true
	if old, err := b.root.Readlink(path[1:]); err == nil && old == target {
		return nil
	}
	b.call(ctx, why, path, fmt.Sprintf("symlinkat(%q, ", target), ")")
	return b.root.Symlink(target, path[1:])
}

func (b *builder) copy(ctx context.Context, path, why string) (err error) {
	if b.done[path] {
		return nil
	}
	b.done[path] = true
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &os.PathError{Op: "copy", Path: path, Err: errors.New("not a regular file")}
	}
	if old, err := b.root.Stat(path[1:]); err == nil && os.SameFile(old, info) {
		return nil // a bind mount, or a hard link: it is there
	}
	// A new file, not new bytes in the old one: a process in the jail may be
	// running that (ETXTBSY), and may not see half of the copy as its program.
	temporary := path[1:] + ".new"
	if err := b.root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b.call(ctx, why, path+".new", "openat(", ", O_WRONLY|O_CREAT|O_EXCL)")
	to, err := b.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		to.Close()
		if err != nil {
			err = errors.Join(err, b.root.Remove(temporary))
		}
	}()
	if _, err := io.Copy(to, from); err != nil {
		return fmt.Errorf("copy %s: %w", path, err)
	}
	// After the last write: a program with another owner's set-user-ID bit
	// becomes one of ours without it.
	if err := to.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	return b.root.Rename(temporary, path[1:])
}
