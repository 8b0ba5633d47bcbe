//go:build linux

package overlayfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// What Open finds is what a mount of the same layers shows.
func TestOpenSeesWhatTheMountShows(t *testing.T) {
	hosttest.Require(t, hosttest.Overlay)
	base := t.TempDir()
	top, middle, bottom := filepath.Join(base, "top"), filepath.Join(base, "middle"), filepath.Join(base, "bottom")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write(bottom+"/etc/passwd", "bottom")
	write(bottom+"/etc/group", "bottom")
	write(bottom+"/etc/deleted", "bottom")
	write(bottom+"/opaque/old", "bottom")
	write(bottom+"/plain", "bottom")
	write(bottom+"/was-dir/file", "bottom")
	write(middle+"/etc/passwd", "middle")
	write(middle+"/opaque/new", "middle")
	write(middle+"/was-dir", "a file now")
	write(middle+"/plain/now-dir", "middle")
	try(unix.Setxattr(middle+"/opaque", opaqueXattr(), []byte("y"), 0))
	try(os.MkdirAll(top+"/etc", 0o755))
	try(unix.Mknod(top+"/etc/deleted", unix.S_IFCHR, 0))
	try(os.Symlink("/etc/passwd", top+"/absolute"))
	try(os.Symlink("../../../../etc/group", top+"/up"))
	try(os.Symlink("etc", top+"/config"))
	try(os.Symlink("loop", top+"/loop"))
	try(os.Symlink("/proc/self/environ", top+"/host"))

	layers := []string{top, middle, bottom}
	root := filepath.Join(base, "merged")
	try(os.Mkdir(root, 0o755))
	try(Mount(t.Context(), root, layers, "", "", true))
	defer Unmount(t.Context(), root)

	for name, mounted := range map[string]string{
		"etc/passwd": "etc/passwd", "/etc/group": "etc/group", "etc/deleted": "etc/deleted",
		"opaque/old": "opaque/old", "opaque/new": "opaque/new", "plain": "plain", "plain/now-dir": "plain/now-dir",
		"was-dir": "was-dir", "was-dir/file": "was-dir/file",
		// A link's target on the mount is spelled out, since here it would leave the root.
		"absolute": "etc/passwd", "up": "etc/group", "config/passwd": "etc/passwd", "config/../etc/./passwd": "etc/passwd",
		"loop": "loop", "missing": "missing", "host": "proc/self/environ", "etc": "etc",
	} {
		want, wantErr := os.ReadFile(filepath.Join(root, mounted))
		var got []byte
		f, err := Open(layers, name)
		if err == nil {
			got, err = io.ReadAll(f)
			f.Close()
		}
		var wantNumber, number unix.Errno
		errors.As(wantErr, &wantNumber)
		errors.As(err, &number)
		if string(got) != string(want) || number != wantNumber {
			t.Errorf("Open(%s): %q, %v; the mount has %q, %v", name, got, err, want, wantErr)
		}
	}
	try(unix.Mkfifo(top+"/fifo", 0o600))
	if _, err := Open(layers, "fifo"); err == nil || !strings.Contains(err.Error(), "fifo") {
		t.Errorf("opened a fifo: %v", err)
	}
}
