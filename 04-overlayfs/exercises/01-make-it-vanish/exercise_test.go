//go:build linux && (exercise || solution)

package makeitvanish

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"drydock.example/01-chroot/hosttest"
	overlayfs "drydock.example/04-overlayfs"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestHide(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"lower/directory/in/it", "upper/directory", "work", "merged"} {
		if err := os.MkdirAll(path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"lower/file", "lower/other", "upper/file", "upper/own"} {
		if err := os.WriteFile(path(f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"file", "directory", "own"} {
		if err := Hide(path("upper"), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := overlayfs.Mount(t.Context(), path("merged"), []string{path("lower")}, path("upper"), path("work"), false); err != nil {
		t.Fatal(err)
	}
	defer overlayfs.Unmount(context.Background(), path("merged"))
	for _, name := range []string{"file", "directory", "own"} {
		if info, err := os.Lstat(path("merged/" + name)); err == nil {
			t.Errorf("the merged view still has %s (%v): a name that upper does not have is looked up in the layers below", name, info.Mode())
		}
	}
	if _, err := os.Lstat(path("merged/other")); err != nil {
		t.Errorf("another file is gone, too: %v", err)
	}
	if _, err := os.Lstat(path("lower/file")); err != nil {
		t.Errorf("the lower layer has been changed: %v", err)
	}
}
