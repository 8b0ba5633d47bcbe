//go:build linux && (exercise || solution)

package ownmount

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestWithTmpfs(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	// As on most machines, where systemd shares every mount.
	shared := t.TempDir()
	if err := unix.Mount(shared, shared, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(shared, unix.MNT_DETACH)
	if err := unix.Mount("", shared, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(shared, "dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/file", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := WithTmpfs(dir, "/bin/sh", "-c", "echo files: $(ls "+dir+"); echo y >"+dir+"/new; grep -c ' "+dir+" .* - tmpfs ' /proc/self/mountinfo")
	// Not /proc/self: that is the main thread, which may be the one that was used up.
	mounts, _ := os.ReadFile("/proc/thread-self/mountinfo")
	leaked := strings.Contains(string(mounts), " "+dir+" ")
	if leaked {
		unix.Unmount(dir, unix.MNT_DETACH)
		t.Error("the tmpfs is mounted for everybody: a mount in a shared tree appears in all its copies, also those in other namespaces")
	}
	if err != nil {
		t.Fatalf("WithTmpfs: %v", err)
	}
	if want := "files:\n1\n"; out != want {
		t.Errorf("the program printed %q, want %q: it must see the tmpfs, and nothing of what lies below it", out, want)
	}
	if _, err := os.Stat(dir + "/new"); err == nil && !leaked {
		t.Error("what the program wrote is on the host's disk: it ran where the tmpfs was not")
	}
	if b, err := os.ReadFile(dir + "/file"); err != nil || string(b) != "x" {
		t.Errorf("the host's file: %q %v", b, err)
	}
}
