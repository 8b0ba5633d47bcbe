//go:build linux

package overlayfs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestChanges(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(root string) error
		want string
	}{
		{"nothing", func(string) error { return nil }, ""},
		{"add", func(r string) error { return os.WriteFile(r+"/d/new", nil, 0o644) }, "C /d, A /d/new"},
		{"add a tree", func(r string) error { return os.MkdirAll(r+"/n/m", 0o755) }, "A /n, A /n/m"},
		{"change", func(r string) error { return os.WriteFile(r+"/d/a", []byte("x"), 0o644) }, "C /d, C /d/a"},
		{"mode", func(r string) error { return os.Chmod(r+"/d/sub", 0o700) }, "C /d, C /d/sub"},
		{"remove", func(r string) error { return os.Remove(r + "/d/a") }, "C /d, D /d/a"},
		{"remove a tree", func(r string) error { return os.RemoveAll(r + "/d") }, "D /d"},
		{"remove and add a directory", func(r string) error {
			os.RemoveAll(r + "/d")
			os.Mkdir(r+"/d", 0o755)
			return os.WriteFile(r+"/d/a", nil, 0o644)
		}, "C /d, C /d/a, D /d/b, D /d/sub"},
		{"add and remove again", func(r string) error { os.WriteFile(r+"/x", nil, 0o644); return os.Remove(r + "/x") }, ""},
		{"what a layer has hidden comes back", func(r string) error { return os.WriteFile(r+"/hidden", nil, 0o644) }, "A /hidden"},
		{"in a directory that a layer has emptied", func(r string) error { return os.WriteFile(r+"/emptied/f", nil, 0o644) }, "C /emptied, A /emptied/f"},
		{"a link out", func(r string) error { os.RemoveAll(r + "/d"); return os.Symlink("/", r+"/d") }, "C /d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := scratch(t)
			base := unpacked(t, dir, directory("d", 0o755), regular("d/a", "a"), regular("d/b", "b"), directory("d/sub", 0o755), regular("d/sub/c", ""),
				regular("hidden", ""), directory("emptied", 0o755), regular("emptied/f", ""))
			top := unpacked(t, dir, regular(".wh.hidden", ""), directory("emptied", 0o755), regular("emptied/.wh..wh..opq", ""))
			d := mkdirs(t, dir, "upper", "work", "m")
			lower := []string{top, base}
			mounted(t, d[2], lower, d[0], d[1], false)
			if err := c.do(d[2]); err != nil {
				t.Fatal(err)
			}
			changes, err := Changes(t.Context(), d[0], lower)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, change := range changes {
				got = append(got, fmt.Sprintf("%v %s", change.Kind, change.Path))
			}
			if got := strings.Join(got, ", "); got != c.want {
				t.Errorf("changes %s; want %s", got, c.want)
			}
		})
	}
}

// TestNoDiskUntilWritten: a container that has been made and only reads takes
// nothing, and one that writes takes what it writes.
func TestNoDiskUntilWritten(t *testing.T) {
	dir := scratch(t)
	base := unpacked(t, dir, regular("large", strings.Repeat("x", 1<<20)), regular("other", strings.Repeat("y", 1<<20)))
	d := mkdirs(t, dir, "upper", "work", "m")
	empty := usage(t, d[0])
	mounted(t, d[2], []string{base}, d[0], d[1], false)
	read(t, d[2]+"/large")
	if got := usage(t, d[0]); got != empty || len(describe(t, d[0])) != 1 {
		t.Errorf("upper takes %d bytes more before anything is written", got-empty)
	}
	write(t, d[2]+"/small", "z")
	if got := usage(t, d[0]); got-empty > 64<<10 {
		t.Errorf("upper takes %d bytes for a file of one", got-empty)
	}
	if err := os.Chmod(d[2]+"/large", 0o600); err != nil { // the whole file is copied up
		t.Fatal(err)
	}
	if got := usage(t, d[0]); got-empty < 1<<20 {
		t.Errorf("upper takes %d bytes with a copy of a file of %d", got-empty, 1<<20)
	}
}

// usage returns what the files below dir take on the disk, in bytes.
func usage(t *testing.T, dir string) (sum int64) {
	t.Helper()
	for name := range describe(t, dir) {
		var st unix.Stat_t
		if err := unix.Lstat(dir+"/"+name, &st); err != nil {
			t.Fatal(err)
		}
		sum += st.Blocks * 512
	}
	return sum
}

// TestLayersAreShared: one file of a layer, seen in two containers, is one file.
func TestLayersAreShared(t *testing.T) {
	dir := scratch(t)
	base := unpacked(t, dir, regular("f", strings.Repeat("x", 1<<20)))
	d := mkdirs(t, dir, "u1", "w1", "m1", "u2", "w2", "m2")
	mounted(t, d[2], []string{base}, d[0], d[1], false)
	mounted(t, d[5], []string{base}, d[3], d[4], false)
	var st [3]unix.Stat_t
	for i, path := range []string{base + "/f", d[2] + "/f", d[5] + "/f"} {
		if err := unix.Stat(path, &st[i]); err != nil {
			t.Fatal(err)
		}
	}
	if st[1].Ino != st[0].Ino || st[2].Ino != st[0].Ino {
		t.Errorf("inodes %d in the layer, %d and %d in the containers", st[0].Ino, st[1].Ino, st[2].Ino)
	}
	write(t, d[2]+"/f", "changed")
	if read(t, d[5]+"/f")[:1] != "x" || read(t, base+"/f")[:1] != "x" {
		t.Error("what one container writes is seen in the other, or in the layer")
	}
}
