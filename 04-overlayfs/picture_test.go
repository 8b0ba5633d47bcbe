//go:build linux

package overlayfs

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPicture(t *testing.T) {
	dir := scratch(t)
	layers := []string{
		unpacked(t, dir, directory("d", 0o755), regular("d/new", ""), regular("d/.wh..wh..opq", ""), regular("t/f", "")),
		unpacked(t, dir, directory("d", 0o755), regular("d/.wh.a", ""), regular("d/b", ""), regular("f", "")),
		unpacked(t, dir, directory("d", 0o755), regular("d/a", ""), regular("f", ""), regular("t", "a file here")),
	}
	for at, want := range map[string]string{
		"/": `
        base  2  3
/d      ·     ·  ●
/d/a    ·     ×
/d/b          ·
/d/new           ●
/f      ·     ●
/t      ·        ●
/t/f             ●
`,
		"d": `
        base  2  3
/d/a    ·     ×
/d/b          ·
/d/new           ●
`} {
		var b bytes.Buffer
		if err := Picture(t.Context(), &b, []string{"3", "2", "base"}, layers, at); err != nil {
			t.Fatal(err)
		}
		got, _, _ := strings.Cut(b.String(), "● seen")
		if "\n"+got != want {
			t.Errorf("picture of %s:%s\nwant%s", at, "\n"+got, want)
		}
	}
	if err := Picture(t.Context(), &bytes.Buffer{}, []string{"x"}, layers[:1], "/none"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

// TestPictureIsWhatTheKernelShows: on random stacks every name that the merged
// view has is seen in exactly one layer, with the attributes that it has there,
// and no other name is.
func TestPictureIsWhatTheKernelShows(t *testing.T) {
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 9))
		dir := scratch(t)
		d := mkdirs(t, dir, "base", "upper1", "work1", "m1", "upper2", "work2", "m2")
		randomTree(t, d[0], r, 60)
		mounted(t, d[3], []string{d[0]}, d[1], d[2], false)
		randomChanges(t, d[3], r, 30)
		mounted(t, d[6], []string{d[1], d[0]}, d[4], d[5], false)
		randomChanges(t, d[6], r, 30)
		layers := []string{d[4], d[1], d[0]}
		dirs := make([]shownDir, len(layers))
		for i, l := range layers {
			dirs[i] = shownDir{l, true}
		}
		p := &picture{ctx: t.Context()}
		if err := p.directory(dirs, "/"); err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]bool)
		for _, row := range p.rows {
			for i, mark := range row.marks {
				if mark != markSeen {
					continue
				}
				if seen[row.path] {
					t.Errorf("%s is seen twice", row.path)
				}
				seen[row.path] = true
				var got, want unix.Stat_t
				if err := errors.Join(unix.Lstat(layers[i]+row.path, &got), unix.Lstat(d[6]+row.path, &want)); err != nil {
					t.Error(err)
				} else if got.Mode != want.Mode || got.Mtim != want.Mtim || got.Uid != want.Uid {
					t.Errorf("seed %d: %s is seen in layer %d, where it has mode %o and time %v; the kernel shows mode %o and time %v", seed, row.path, i, got.Mode, got.Mtim, want.Mode, want.Mtim)
				}
			}
		}
		err := filepath.WalkDir(d[6], func(path string, _ fs.DirEntry, err error) error {
			if rel := strings.TrimPrefix(path, d[6]); rel != "" && !seen[rel] {
				t.Errorf("seed %d: the kernel shows %s, the picture does not", seed, rel)
			} else {
				delete(seen, rel)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for name := range seen {
			t.Errorf("seed %d: the picture shows %s, the kernel does not", seed, name)
		}
	}
}

func TestSize(t *testing.T) {
	dir := scratch(t)
	d := mkdirs(t, dir, "lower", "upper", "work", "m")
	write(t, d[0]+"/image", strings.Repeat("x", 100_000))
	mounted(t, d[3], d[:1], d[1], d[2], false)
	size := func(want int64) {
		t.Helper()
		if got, err := Size(t.Context(), d[1]); err != nil || got != want {
			t.Errorf("size %d, %v; want %d", got, err, want)
		}
	}
	size(0)
	write(t, d[3]+"/new", "12345")
	if err := os.Link(d[3]+"/new", d[3]+"/again"); err != nil {
		t.Fatal(err)
	}
	mkdirs(t, d[3], "dir/sub")
	write(t, d[3]+"/dir/sub/f", "678")
	if err := os.Symlink("a target that is not counted", d[3]+"/link"); err != nil {
		t.Fatal(err)
	}
	size(8)
	// Copied up whole, for one new time.
	if err := os.Chtimes(d[3]+"/image", time.Time{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	size(100_008)
	if err := os.Remove(d[3] + "/image"); err != nil {
		t.Fatal(err)
	}
	size(8)
	if _, err := Size(t.Context(), dir+"/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}
