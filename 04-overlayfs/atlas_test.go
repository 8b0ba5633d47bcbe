//go:build linux

package overlayfs

import (
	"errors"
	"os"
	"strings"
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

func TestAtlasUpperInUse(t *testing.T) {
	dir := scratch(t)
	d := mkdirs(t, dir, "lower", "upper", "work", "m", "m2")
	on := func(target string) error {
		return unix.Mount("overlay", target, "overlay", 0, "lowerdir="+d[0]+",upperdir="+d[1]+",workdir="+d[2]+",index=on")
	}
	if err := on(d[3]); err != nil {
		t.Fatal(err)
	}
	fails(t, "an upper that another overlay writes to", on(d[4]), unix.EBUSY)
	if err := Unmount(t.Context(), d[3]); err != nil {
		t.Error(err)
	}
	if err := on(d[4]); err != nil {
		t.Errorf("when the other is gone: %v", err)
	}
	if err := Unmount(t.Context(), d[4]); err != nil {
		t.Error(err)
	}
}

func TestAtlasUnmountOfABusyOverlay(t *testing.T) {
	dir := scratch(t)
	d := mkdirs(t, dir, "lower", "upper", "work", "m")
	if err := plain(d[3], d[0], d[1], d[2]); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(d[3] + "/open")
	if err != nil {
		t.Fatal(err)
	}
	fails(t, "a file is open there", unix.Unmount(d[3], 0), unix.EBUSY)
	f.Close()
	if err := Unmount(t.Context(), d[3]); err != nil {
		t.Errorf("closed: %v", err)
	}
}

func TestAtlasVolatileUpperAfterACrash(t *testing.T) {
	dir := scratch(t)
	d := mkdirs(t, dir, "lower", "upper", "work", "m")
	volatile := func() error {
		return unix.Mount("overlay", d[3], "overlay", 0, "lowerdir="+d[0]+",upperdir="+d[1]+",workdir="+d[2]+",volatile")
	}
	if err := volatile(); err != nil {
		t.Fatal(err)
	}
	if err := Unmount(t.Context(), d[3]); err != nil {
		t.Fatal(err)
	}
	fails(t, "an upper that was mounted volatile before", volatile(), unix.EINVAL)
	if err := os.RemoveAll(d[2] + "/work/incompat"); err != nil {
		t.Fatal(err)
	}
	if err := volatile(); err != nil {
		t.Errorf("without the mark: %v", err)
	}
	if err := Unmount(t.Context(), d[3]); err != nil {
		t.Error(err)
	}
}

func TestAtlasTrustedInAUserNamespace(t *testing.T) {
	if !inUserNamespace() {
		if out, err := userNamespace(t, 1000, "-test.run", "^"+t.Name()+"$", "-test.v"); err != nil || !strings.Contains(out, "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	dir := tmpfs(t, "")
	d := mkdirs(t, dir, "lower", "upper", "work", "m")
	fails(t, "a trusted attribute", unix.Setxattr(d[1], "trusted.overlay.opaque", []byte("y"), 0), unix.EPERM)
	fails(t, "a device", unix.Mknod(dir+"/null", unix.S_IFCHR, int(unix.Mkdev(1, 3))), unix.EPERM)
	fails(t, "userxattr with redirect_dir", unix.Mount("overlay", d[3], "overlay", 0, "lowerdir="+d[0]+",upperdir="+d[1]+",workdir="+d[2]+",userxattr,redirect_dir=on"), unix.EINVAL)
	if err := unix.Mount("overlay", d[3], "overlay", 0, "lowerdir="+d[0]+",upperdir="+d[1]+",workdir="+d[2]+",userxattr"); err != nil {
		t.Errorf("userxattr: %v", err)
	}
	if err := Unmount(t.Context(), d[3]); err != nil {
		t.Error(err)
	}
}

func TestAtlasUnknownOwner(t *testing.T) {
	if !inUserNamespace() {
		if out, err := userNamespace(t, 1000, "-test.run", "^"+t.Name()+"$", "-test.v"); err != nil || !strings.Contains(out, "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if b, err := os.ReadFile("/proc/self/uid_map"); err != nil || !strings.HasSuffix(strings.TrimSpace(string(b)), " 1000") {
		t.Skip("requires a user namespace of 1000 ids")
	}
	dir := tmpfs(t, "")
	write(t, dir+"/f", "")
	fails(t, "chown to a user that the namespace does not have", os.Chown(dir+"/f", 1000, 0), unix.EINVAL)
	if err := os.Chown(dir+"/f", 999, 0); err != nil {
		t.Errorf("the last one that it has: %v", err)
	}
}
