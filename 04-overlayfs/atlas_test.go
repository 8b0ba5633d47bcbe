//go:build linux

package overlayfs

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Each test here is an entry of docs/error-atlas.md: the failure, and its cure.
// They call mount(2), as a learner's first program does.

// fails checks that a call fails as the atlas says.
func fails(t *testing.T, what string, err error, want unix.Errno) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v: want %v", what, err, want)
	}
}

// plain mounts an overlay at target with no options but these directories.
func plain(target, lower, upper, work string) error {
	return unix.Mount("overlay", target, "overlay", 0, "lowerdir="+lower+",upperdir="+upper+",workdir="+work)
}

func TestAtlasOverlayInAnOverlay(t *testing.T) {
	dir := scratch(t)
	d := mkdirs(t, dir, "lower", "upper", "work", "m", "m2")
	mounted(t, d[3], d[:1], d[1], d[2], false)
	in := mkdirs(t, d[3], "upper", "work")
	fails(t, "upper on an overlay", plain(d[4], d[0], in[0], in[1]), unix.EINVAL)
	on := mkdirs(t, tmpfs(t, ""), "upper", "work")
	if err := plain(d[4], d[3], on[0], on[1]); err != nil {
		t.Errorf("with the overlay as the lower one and a tmpfs for upper: %v", err)
	}
	if err := Unmount(t.Context(), d[4]); err != nil {
		t.Error(err)
	}
}

func TestAtlasUpperAndWork(t *testing.T) {
	dir := scratch(t)
	d := mkdirs(t, dir, "lower", "upper", "work", "m")
	other := tmpfs(t, "")
	fails(t, "work on another file system than upper", plain(d[3], d[0], d[1], other), unix.EINVAL)
	fails(t, "work within upper", plain(d[3], d[0], d[1], mkdirs(t, d[1], "work")[0]), unix.EINVAL)
	fails(t, "work that is upper", plain(d[3], d[0], d[1], d[1]), unix.EINVAL)
	if err := plain(d[3], d[0], d[1], d[2]); err != nil {
		t.Errorf("side by side: %v", err)
	}
	if err := Unmount(t.Context(), d[3]); err != nil {
		t.Error(err)
	}
}

func TestAtlasRenameOfALowerDirectory(t *testing.T) {
	dir := scratch(t)
	d := mkdirs(t, dir, "lower", "upper", "work", "m")
	mkdirs(t, d[0], "old")
	mounted(t, d[3], d[:1], d[1], d[2], false)
	fails(t, "rename of a directory that is in a lower layer", os.Rename(d[3]+"/old", d[3]+"/new"), unix.EXDEV)
	mkdirs(t, d[3], "fresh")
	if err := os.Rename(d[3]+"/fresh", d[3]+"/new"); err != nil {
		t.Errorf("rename of a directory of upper's own: %v", err)
	}
}

func TestAtlasColonInALayersPath(t *testing.T) {
	dir := scratch(t)
	d := mkdirs(t, dir, "sha256:abc", "upper", "work", "m")
	fails(t, "a colon, which separates layers", plain(d[3], d[0], d[1], d[2]), unix.ENOENT)
	if err := Mount(t.Context(), d[3], d[:1], d[1], d[2], false); err != nil {
		t.Errorf("by descriptor: %v", err)
	}
	if err := Unmount(t.Context(), d[3]); err != nil {
		t.Error(err)
	}
}
