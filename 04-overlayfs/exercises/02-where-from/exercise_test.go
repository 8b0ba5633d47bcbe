//go:build linux && (exercise || solution)

package wherefrom

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
	overlayfs "drydock.example/04-overlayfs"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

// layer unpacks an archive of names; those that end in a slash are directories.
func layer(t *testing.T, dir string, names ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		kind := byte(tar.TypeReg)
		if strings.HasSuffix(name, "/") {
			kind = tar.TypeDir
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: kind, Name: name, Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.MkdirTemp(dir, "layer")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := overlayfs.Unpack(t.Context(), root, &b); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestOrigin(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	layers := []string{
		layer(t, dir, "both", "gone/", "gone/new", "d/", "d/top", "e/", "e/.wh..wh..opq", "e/new"),
		layer(t, dir, ".wh.removed", ".wh.gone", "d/", "d/middle", "d/.wh.base", "e/", "e/middle", "f/", "f/x/"),
		layer(t, dir, "both", "base", "removed", "gone/", "gone/file", "d/", "d/base", "d/deep/", "d/deep/file", "e/", "e/base", "f/", "f/x/", "f/x/base"),
	}
	merged := filepath.Join(dir, "merged")
	if err := os.Mkdir(merged, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := overlayfs.Mount(t.Context(), merged, layers, "", "", true); err != nil {
		t.Fatal(err)
	}
	defer overlayfs.Unmount(context.Background(), merged)
	for _, path := range []string{"both", "base", "removed", "gone", "gone/new", "gone/file", "d", "d/top", "d/middle", "d/base", "d/deep/file", "e", "e/new", "e/middle", "e/base", "f/x", "f/x/base", "none", "none/x"} {
		got, err := Origin(layers, path)
		_, seen := os.Lstat(filepath.Join(merged, path))
		if seen != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %q, %v, but the kernel's merged view has none: does a whiteout or an opaque directory hide it, or a parent of it?", path, filepath.Base(got), err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v, but the kernel's merged view has it", path, err)
			continue
		}
		var in, at unix.Stat_t
		if err := errors.Join(unix.Lstat(filepath.Join(merged, path), &in), unix.Lstat(filepath.Join(got, path), &at)); err != nil {
			t.Error(err)
		} else if in.Mode&unix.S_IFMT != unix.S_IFDIR && in.Ino != at.Ino {
			t.Errorf("%s: the kernel shows inode %d, and your layer's is %d", path, in.Ino, at.Ino)
		}
	}
}
