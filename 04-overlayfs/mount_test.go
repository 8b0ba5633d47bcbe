//go:build linux

package overlayfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// scratch returns a directory of the test's own that can hold an upper, in
// memory: a syncfs of the disk would wait for everyone else's writes, and
// $TMPDIR may lie on an overlay, which cannot carry another's upper.
func scratch(t testing.TB) string {
	t.Helper()
	hosttest.Require(t, hosttest.Root)
	dir := tmpfs(t, "size=256m")
	hosttest.Require(t, func() error { return Supported(dir) })
	return dir
}

// tmpfs mounts an empty one for the test's time.
func tmpfs(t testing.TB, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// mkdirs makes directories below dir and returns their paths.
func mkdirs(t testing.TB, dir string, names ...string) []string {
	t.Helper()
	var paths []string
	for _, n := range names {
		p := filepath.Join(dir, n)
		if err := os.MkdirAll(p, 0o755); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	return paths
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// mounted mounts an overlay for the test's time.
func mounted(t testing.TB, target string, lower []string, upper, work string, readonly bool) {
	t.Helper()
	if err := Mount(t.Context(), target, lower, upper, work, readonly); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Unmount(context.Background(), target); err != nil {
			t.Error(err)
		}
	})
}

func TestTopmostLayerWins(t *testing.T) {
	dir := scratch(t)
	d := mkdirs(t, dir, "a", "b", "upper", "work", "m")
	write(t, d[0]+"/f", "lower")
	write(t, d[1]+"/f", "higher")
	write(t, d[0]+"/only", "lower")
	mounted(t, d[4], []string{d[1], d[0]}, d[2], d[3], false)
	if got := read(t, d[4]+"/f") + " " + read(t, d[4]+"/only"); got != "higher lower" {
		t.Errorf("the merged view has %q", got)
	}
	write(t, d[4]+"/f", "written")
	if got := read(t, d[2]+"/f") + " " + read(t, d[1]+"/f"); got != "written higher" {
		t.Errorf("upper and lower have %q: what is written belongs into upper alone", got)
	}
}

func TestReadOnlyMounts(t *testing.T) {
	dir := scratch(t)
	d := mkdirs(t, dir, "a", "b", "upper", "work", "m1", "m2", "m3")
	write(t, d[0]+"/f", "x")
	mounted(t, d[4], []string{d[0]}, "", "", true)
	mounted(t, d[5], []string{d[1], d[0]}, "", "", false)
	mounted(t, d[6], []string{d[1], d[0]}, d[2], d[3], true)
	for _, m := range d[4:] {
		if read(t, m+"/f") != "x" {
			t.Errorf("%s: the layer's file is not there", m)
		}
		if err := os.WriteFile(m+"/new", nil, 0o644); !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: writing: %v, want EROFS", m, err)
		}
	}
}

// manyLayers makes n layers, each with a file of its own, top first.
func manyLayers(t *testing.T, dir string, n int) []string {
	t.Helper()
	var lower []string
	for i := range n {
		// As long as a store's directories are.
		d := mkdirs(t, dir, fmt.Sprintf("%064d/diff", i))[0]
		write(t, fmt.Sprintf("%s/file%d", d, i), "")
		write(t, d+"/all", fmt.Sprint(i))
		lower = append([]string{d}, lower...)
	}
	return lower
}

func TestManyLayers(t *testing.T) {
	const n = 200
	for _, way := range []string{"layer by layer", "one string"} {
		t.Run(way, func(t *testing.T) {
			dir := scratch(t)
			lower := manyLayers(t, dir, n)
			d := mkdirs(t, dir, "upper", "work", "m")
			o := &overlay{lower: lower, upper: d[0], work: d[1], options: layerOptions()}
			var err error
			if way == "one string" {
				err = o.mount(t.Context(), d[2])
			} else {
				err = o.fsmount(t.Context(), d[2])
			}
			if errors.Is(err, errOldKernel) {
				t.Skip("requires Linux 6.7 (lowerdir+)")
			}
			if err != nil {
				t.Fatal(err)
			}
			defer Unmount(context.Background(), d[2])
			entries, err := os.ReadDir(d[2])
			if err != nil || len(entries) != n+1 {
				t.Errorf("%d entries, %v; want %d", len(entries), err, n+1)
			}
			if got := read(t, d[2]+"/all"); got != fmt.Sprint(n-1) {
				t.Errorf("the file that all have is that of layer %s", got)
			}
		})
	}
}

func TestOddPaths(t *testing.T) {
	for _, name := range []string{`with:colon`, `with,comma`, `with\backslash`, `with space`, strings.Repeat("long/", 60) + "end"} {
		for _, way := range []string{"layer by layer", "one string"} {
			t.Run(fmt.Sprintf("%.15s %s", name, way), func(t *testing.T) {
				dir := scratch(t)
				d := mkdirs(t, dir, name+"/a", name+"/upper", name+"/work", name+"/m", "b")
				write(t, d[0]+"/f", "x")
				o := &overlay{lower: []string{d[0], d[4]}, upper: d[1], work: d[2], options: layerOptions()}
				mount := o.fsmount
				if way == "one string" {
					mount = o.mount
				}
				if err := mount(t.Context(), d[3]); err != nil {
					t.Fatal(err)
				}
				defer Unmount(context.Background(), d[3])
				write(t, d[3]+"/g", "y")
				if read(t, d[3]+"/f") != "x" || read(t, d[1]+"/g") != "y" {
					t.Error("the layers are not merged")
				}
			})
		}
	}
}

func TestMountErrors(t *testing.T) {
	dir := scratch(t)
	d := mkdirs(t, dir, "a", "b", "upper", "work", "m")
	file := filepath.Join(dir, "file")
	write(t, file, "")
	for _, c := range []struct {
		name        string
		target      string
		lower       []string
		upper, work string
		options     []string
		want        string
		is          error
	}{
		{name: "no layers", target: d[4], want: "no layers", is: errdefs.ErrInvalidArgument},
		{name: "no work", target: d[4], lower: d[:1], upper: d[2], want: "go together", is: errdefs.ErrInvalidArgument},
		{name: "missing layer", target: d[4], lower: []string{d[0], dir + "/none"}, want: dir + "/none: no such file", is: os.ErrNotExist},
		{name: "layer is a file", target: d[4], lower: []string{file, d[0]}, want: file + ": not a directory", is: unix.ENOTDIR},
		{name: "missing target", target: dir + "/none", lower: d[:2], want: dir + "/none: no such file", is: os.ErrNotExist},
		{name: "unknown option", target: d[4], lower: d[:2], options: []string{"colour=red"}, want: "colour", is: unix.EINVAL},
		{name: "upper elsewhere than work", target: d[4], lower: d[:1], upper: d[2], work: "/proc/self", want: "work /proc/self is on another", is: errdefs.ErrInvalidArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Mount(t.Context(), c.target, c.lower, c.upper, c.work, false, c.options...)
			if err == nil {
				Unmount(context.Background(), c.target)
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.want) || !errors.Is(err, c.is) {
				t.Errorf("error %q, want one that is %v and says %q", err, c.is, c.want)
			}
		})
	}
}

func TestVolatileCanBeRepeated(t *testing.T) {
	dir := scratch(t)
	d := mkdirs(t, dir, "a", "upper", "work", "m")
	for range 2 {
		if err := Mount(t.Context(), d[3], d[:1], d[1], d[2], false, "volatile"); err != nil {
			t.Fatal(err)
		}
		write(t, d[3]+"/f", "x")
		if err := Unmount(t.Context(), d[3]); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSupportedSaysTheCure(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	if err := Supported("/proc"); err == nil || !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), "ext4") {
		t.Errorf("/proc: %v", err)
	}
}
