//go:build linux

package overlayfs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/doctor"
)

func answer(t *testing.T, r doctor.Result, status doctor.Status, found, why, cure string) {
	t.Helper()
	if r.Status != status || r.Found != found || !strings.Contains(r.Why, why) {
		t.Errorf("%s, %q, because %q: want %s, %q, %q", r.Status, r.Found, r.Why, status, found, why)
	}
	if cure != "" && !slices.ContainsFunc(r.Cure, func(s string) bool { return strings.Contains(s, cure) }) {
		t.Errorf("the cures are %q: want one with %q", r.Cure, cure)
	}
}

// Where this chapter's tests run there are layers, and no check leaves a trace.
func TestDoctorFindsLayersPossible(t *testing.T) {
	root := scratch(t)
	t.Setenv("TMPDIR", root)
	for _, c := range Checks(filepath.Join(root, "var", "lib", "drydock")) {
		if c.Chapter != 4 || c.Name == "" || c.For == "" {
			t.Errorf("check %+v", c)
		}
		want := doctor.OK
		if c.Name == "room" {
			want = doctor.Limited // it is a tmpfs of 256 MiB
		}
		if r := c.Run(t.Context()); r.Status != want {
			t.Errorf("%s: %+v, want %s", c.Name, r, want)
		}
	}
	if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
		t.Errorf("left: %v (%v)", left, err)
	}
}

func TestDoctorOnAnOverlay(t *testing.T) {
	dir := scratch(t)
	d := mkdirs(t, dir, "a", "upper", "work", "m")
	mounted(t, d[3], d[:1], d[1], d[2], false)
	r := tryLayers(t.Context(), d[3], doctor.Missing)
	if r.Status != doctor.Missing || !strings.HasPrefix(r.Found, d[3]+" is on overlay: ") ||
		!strings.Contains(r.Why, "an overlay cannot write into another one") || !strings.Contains(strings.Join(r.Cure, "\n"), "docker run -v /var/lib/drydock") {
		t.Errorf("%+v", r)
	}
}

func TestDoctorOnAReadOnlyFileSystem(t *testing.T) {
	dir := scratch(t)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	r := tryLayers(t.Context(), dir, doctor.Limited)
	if r.Status != doctor.Limited || !strings.HasSuffix(r.Found, "read-only file system") {
		t.Errorf("%+v", r)
	}
	answer(t, r, r.Status, r.Found, "mounted read-only", "sudo mount -o remount,rw "+dir)
}

func TestDoctorSaysWhyThereIsNoOverlay(t *testing.T) {
	answer(t, overlayFound(0, nil), doctor.OK, "works", "", "")
	answer(t, overlayFound(1000, fmt.Errorf("x: %w", unix.EPERM)), doctor.Unknown, "not root: it cannot be tried", "", "sudo")
	answer(t, overlayFound(0, fmt.Errorf("x: %w", unix.EPERM)), doctor.Missing, "overlay: operation not permitted", "inside of a container", "docker run --privileged")
	answer(t, overlayFound(0, fmt.Errorf("x: %w", unix.ENODEV)), doctor.Missing, "overlay: no such device", "module that is not loaded", "sudo modprobe overlay")
	answer(t, layersFound("/vagrant", "9p", unix.EINVAL, doctor.Missing), doctor.Missing, "/vagrant is on 9p: invalid argument", "shared with a host", "own disk")
	answer(t, layersFound("/data", "ext4", unix.EACCES, doctor.Missing), doctor.Missing, "/data is on ext4: permission denied", "belongs to someone else", "a directory of your own")
	answer(t, layersFound("/data", "nfs", unix.EINVAL, doctor.Missing), doctor.Missing, "/data is on nfs: invalid argument", "whiteouts", "drydockd --root DIR")
}
