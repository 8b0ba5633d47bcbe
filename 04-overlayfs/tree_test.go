//go:build linux

package overlayfs

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// An item is one entry of an archive that a test makes.
type item struct {
	tar.Header
	content string
}

// at is the time of the items that do not name one.
var at = time.Unix(1_700_000_000, 123_456_789)

func regular(name, content string) item {
	return item{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content)), ModTime: at}, content}
}

func directory(name string, mode int64) item {
	return item{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode, ModTime: at}, ""}
}

func symlink(name, target string) item {
	return item{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: at}, ""}
}

func hardlink(name, target string) item {
	return item{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, ModTime: at}, ""}
}

func node(name string, kind byte, major, minor int64) item {
	return item{tar.Header{Typeflag: kind, Name: name, Mode: 0o640, Devmajor: major, Devminor: minor, ModTime: at}, ""}
}

func (i item) owned(uid, gid int) item { i.Uid, i.Gid = uid, gid; return i }
func (i item) mode(m int64) item       { i.Mode = m; return i }
func (i item) xattr(name, value string) item {
	records := map[string]string{xattrRecord + name: value}
	for k, v := range i.PAXRecords {
		records[k] = v
	}
	i.PAXRecords = records
	return i
}

// archive makes a tar of items.
func archive(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		i.Format = tar.FormatPAX
		if err := w.WriteHeader(&i.Header); err != nil {
			t.Fatalf("%s: %v", i.Name, err)
		}
		if _, err := w.Write([]byte(i.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpacked unpacks items into a new directory of scratch and returns it.
func unpacked(t testing.TB, dir string, items ...item) string {
	t.Helper()
	root, err := os.MkdirTemp(dir, "layer")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Unpack(t.Context(), root, bytes.NewReader(archive(t, items...))); err != nil {
		t.Fatal(err)
	}
	return root
}

// describe returns everything about the files below dir, one line each, by
// path: what two equal trees have in common.
func describe(t testing.TB, dir string) map[string]string {
	t.Helper()
	tree := make(map[string]string)
	first, names := make(map[uint64]string), make(map[uint64]int)
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("mode=%o owner=%d:%d mtime=%d.%09d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" size=%d sha256=%x", st.Size, sha256.Sum256(content))
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + target
		case unix.S_IFCHR, unix.S_IFBLK:
			line += fmt.Sprintf(" device=%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
			if first[st.Ino] == "" {
				first[st.Ino] = name
			}
			names[st.Ino]++
			line += " same-as=" + first[st.Ino]
		}
		attrs, err := xattrs(path)
		if err != nil {
			return err
		}
		for _, k := range slices.Sorted(maps.Keys(attrs)) {
			line += fmt.Sprintf(" %s=%q", k, attrs[k])
		}
		tree[name] = line
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// A file whose other names are outside of the tree, or, in an overlay,
	// hidden, has one name here.
	for ino, name := range first {
		if names[ino] == 1 {
			tree[name] = strings.Replace(tree[name], " same-as="+name, "", 1)
		}
	}
	return tree
}

// differences returns the lines in which two described trees differ.
func differences(a, b map[string]string) string {
	var out strings.Builder
	names := make(map[string]bool)
	for n := range a {
		names[n] = true
	}
	for n := range b {
		names[n] = true
	}
	for n := range names {
		if a[n] != b[n] {
			fmt.Fprintf(&out, "%s:\n\t%s\n\t%s\n", n, a[n], b[n])
		}
	}
	return out.String()
}

// TestNoEscape unpacks archives that aim at a file outside the layer's
// directory, and looks whether anything there has changed.
func TestNoEscape(t *testing.T) {
	for _, c := range []struct {
		name  string
		items []item
		err   string // "" means that it is unpacked, inside
	}{
		{name: "dots", items: []item{regular("../outside/victim", "x")}, err: "leads out of the layer"},
		{name: "dots after a directory", items: []item{directory("a", 0o755), regular("a/../../outside/victim", "x")}, err: "leads out of the layer"},
		{name: "dots behind a slash", items: []item{regular("/../outside/victim", "x")}, err: "leads out of the layer"},
		{name: "absolute", items: []item{regular("OUTSIDE/victim", "x")}},
		{name: "absolute symlink", items: []item{symlink("s", "OUTSIDE"), regular("s/victim", "x")}, err: "leads nowhere in this layer"},
		{name: "relative symlink", items: []item{symlink("s", "../outside"), regular("s/victim", "x")}, err: "leads nowhere in this layer"},
		{name: "symlink to the victim", items: []item{symlink("s", "OUTSIDE/victim"), regular("s", "x")}},
		{name: "chain of symlinks", items: []item{symlink("a", ".."), symlink("b", "a/outside"), regular("b/victim", "x")}, err: "leads nowhere in this layer"},
		{name: "symlink swapped for a directory", items: []item{directory("d", 0o755), regular("d/f", "x"), symlink("d", "OUTSIDE"), regular("d/victim", "x")}, err: "leads nowhere in this layer"},
		{name: "mode through a symlink", items: []item{symlink("s", "OUTSIDE"), directory("s", 0o777)}},
		{name: "magic link", items: []item{symlink("s", "/proc/self/cwd"), regular("s/victim", "x")}, err: "leads nowhere in this layer"},
		{name: "hard link with dots", items: []item{hardlink("h", "../outside/victim"), regular("h", "x")}, err: "leads out of the layer"},
		{name: "hard link, absolute", items: []item{hardlink("h", "OUTSIDE/victim")}, err: "which this layer does not have"},
		{name: "hard link through a symlink", items: []item{symlink("s", "OUTSIDE"), hardlink("h", "s/victim")}, err: "leads nowhere in this layer"},
		{name: "hard link to a symlink, then written", items: []item{symlink("s", "OUTSIDE/victim"), hardlink("h", "s"), regular("h", "x")}},
		{name: "whiteout of dots", items: []item{regular(".wh...", "")}, err: `a whiteout that hides ".."`},
		{name: "whiteout of a dot", items: []item{regular("a/.wh..", "")}, err: `a whiteout that hides "."`},
		{name: "whiteout of nothing", items: []item{regular("a/.wh.", "")}, err: `a whiteout that hides ""`},
		{name: "whiteout through a symlink", items: []item{symlink("s", "OUTSIDE"), regular("s/.wh.victim", "")}, err: "leads nowhere in this layer"},
		{name: "opaque through a symlink", items: []item{symlink("s", "OUTSIDE"), regular("s/.wh..wh..opq", "")}, err: "leads nowhere in this layer"},
		{name: "whiteout in dots", items: []item{regular("../outside/.wh.victim", "")}, err: "leads out of the layer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := scratch(t)
			d := mkdirs(t, dir, "outside", "layer")
			write(t, d[0]+"/victim", "untouched")
			before := describe(t, d[0])
			for i := range c.items {
				c.items[i].Name = strings.ReplaceAll(c.items[i].Name, "OUTSIDE", d[0])
				c.items[i].Linkname = strings.ReplaceAll(c.items[i].Linkname, "OUTSIDE", d[0])
			}
			_, err := Unpack(t.Context(), d[1], bytes.NewReader(archive(t, c.items...)))
			if diff := differences(before, describe(t, d[0])); diff != "" {
				t.Fatalf("the archive has changed what is outside:\n%s", diff)
			}
			if names, _ := os.ReadDir(dir); len(names) != 2 {
				t.Errorf("%v lie beside the layer", names)
			}
			switch {
			case c.err == "" && err != nil:
				t.Error(err)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || !errors.Is(err, errdefs.ErrInvalidArgument)):
				t.Errorf("error %v, want an invalid argument that says %q", err, c.err)
			}
		})
	}
}

func TestSymlinksInsideAreFollowedInside(t *testing.T) {
	dir := scratch(t)
	root := unpacked(t, dir,
		directory("usr", 0o755), directory("usr/lib", 0o755),
		symlink("lib", "/usr/lib"), regular("lib/a", "1"),
		symlink("up", "../../../usr"), regular("up/lib/b", "2"),
		directory("up/new", 0o750), regular("up/new/c", "3"))
	for path, want := range map[string]string{"usr/lib/a": "1", "usr/lib/b": "2", "usr/new/c": "3"} {
		if got := read(t, filepath.Join(root, path)); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
	if info, err := os.Stat(root + "/usr/new"); err != nil || info.Mode().Perm() != 0o750 || !info.ModTime().Equal(at) {
		t.Errorf("usr/new, named through a link, has not got its attributes: %v %v", info, err)
	}
}

func TestDeepDirectories(t *testing.T) {
	root := t.TempDir()
	_, err := Unpack(t.Context(), root, bytes.NewReader(archive(t, regular(strings.Repeat("d/", maxDepth+1)+"f", ""))))
	if err == nil || !strings.Contains(err.Error(), "deep") || !errors.Is(err, errdefs.ErrInvalidArgument) {
		t.Errorf("a path of %d directories: %v", maxDepth+1, err)
	}
}
