//go:build linux

package overlayfs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// randomTree fills dir with about n files of all types.
func randomTree(t testing.TB, dir string, r *rand.Rand, n int) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dirs, files := []string{dir}, []string{}
	var made []string
	for i := range n {
		parent := dirs[r.IntN(len(dirs))]
		path := filepath.Join(parent, fmt.Sprintf("%c%d", 'a'+r.IntN(26), i))
		if r.IntN(20) == 0 {
			path = filepath.Join(parent, fmt.Sprintf("ü-%d %s", i, strings.Repeat("long", 50)))
		}
		kind := r.IntN(10)
		switch {
		case kind < 3:
			check(os.Mkdir(path, 0o755))
			dirs = append(dirs, path)
		case kind < 6 || len(files) == 0:
			content := make([]byte, r.IntN(5)*r.IntN(3000))
			for i := range content {
				content[i] = byte(r.Uint32())
			}
			check(os.WriteFile(path, content, 0o644))
			files = append(files, path)
		case kind == 6:
			check(os.Symlink([]string{"/etc/passwd", "../" + filepath.Base(files[0]), strings.Repeat("t", 200)}[r.IntN(3)], path))
		case kind == 7:
			check(os.Link(files[r.IntN(len(files))], path))
			continue // it has the attributes of its first name
		case kind == 8 || inUserNamespace(): // where devices cannot be made
			check(unix.Mkfifo(path, 0o600))
		default:
			check(unix.Mknod(path, []uint32{unix.S_IFCHR, unix.S_IFBLK}[r.IntN(2)]|0o600, int(unix.Mkdev(uint32(1+r.IntN(300)), r.Uint32N(1000)))))
		}
		made = append(made, path)
	}
	for i := len(made) - 1; i >= 0; i-- { // children before their parents
		p := made[i]
		check(os.Lchown(p, []int{0, 1000, 3_000_000}[r.IntN(3)], r.IntN(1000)))
		info, err := os.Lstat(p)
		check(err)
		if info.Mode()&os.ModeSymlink == 0 {
			check(unix.Chmod(p, []uint32{0o755, 0o4711, 0o2775, 0o1777, 0, 0o640}[r.IntN(6)]))
		}
		attribute := "trusted.test"
		if inUserNamespace() {
			attribute = "user.test"
		}
		if r.IntN(3) == 0 && (!inUserNamespace() || info.IsDir() || info.Mode().IsRegular()) {
			check(unix.Lsetxattr(p, attribute, []byte{0, byte(r.Uint32()), '=', '\n'}, 0))
		}
	}
	for i := len(made) - 1; i >= 0; i-- {
		setTime(t, made[i], r)
	}
	setTime(t, dir, r)
}

func setTime(t testing.TB, path string, r *rand.Rand) {
	t.Helper()
	ts := unix.NsecToTimespec(time.Unix(r.Int64N(2_000_000_000), r.Int64N(1e9)).UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		t.Fatal(err)
	}
}

func withoutXattrs(tree map[string]string) {
	for name, line := range tree {
		tree[name] = regexp.MustCompile(` (trusted|user)\.test=".*"`).ReplaceAllString(line, "")
	}
}

func wholeSeconds(tree map[string]string) {
	for name, line := range tree {
		tree[name] = regexp.MustCompile(`(mtime=\d+)\.\d+`).ReplaceAllString(line, "$1")
	}
}

// diff returns the layer that Diff makes of upper.
func diff(t testing.TB, upper string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Diff(t.Context(), upper, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestUnpackIsTheInverseOfDiff: on random directories, with whiteouts and
// opaque directories among them.
func TestUnpackIsTheInverseOfDiff(t *testing.T) {
	dir := scratch(t)
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 0))
		d := mkdirs(t, dir, fmt.Sprintf("%d/in", seed), fmt.Sprintf("%d/out", seed))
		randomTree(t, d[0], r, 80)
		err := filepath.WalkDir(d[0], func(path string, e os.DirEntry, err error) error {
			if err != nil || !e.IsDir() {
				return err
			}
			if r.IntN(4) == 0 {
				err = unix.Setxattr(path, opaqueXattr(), []byte("y"), 0)
			}
			if r.IntN(4) == 0 {
				err = errors.Join(err, unix.Mknod(filepath.Join(path, "gone"), unix.S_IFCHR, 0))
				ts := []unix.Timespec{{}, {}}
				err = errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(path, "gone"), ts, 0))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		layer := diff(t, d[0])
		if _, err := Unpack(t.Context(), d[1], bytes.NewReader(layer)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		want, got := describe(t, d[0]), describe(t, d[1])
		for _, tree := range []map[string]string{want, got} {
			for name, line := range tree {
				if strings.Contains(line, "device=0:0") {
					tree[name] = "whiteout" // its own time means nothing
				}
			}
		}
		if diff := differences(want, got); diff != "" {
			t.Fatalf("seed %d: the unpacked diff differs:\n%s", seed, diff)
		}
		if again := diff(t, d[1]); sha256.Sum256(again) != sha256.Sum256(layer) {
			t.Fatalf("seed %d: the same tree gives two layers", seed)
		}
	}
}

// TestDiffOfAContainer changes a merged view as a container would, makes a
// layer of the changes and puts it upon the same base: the view is the same.
func TestDiffOfAContainer(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dir := scratch(t)
			r := rand.New(rand.NewPCG(seed, 1))
			d := mkdirs(t, dir, "base", "upper", "work", "merged", "layer", "view")
			randomTree(t, d[0], r, 120)
			mounted(t, d[3], []string{d[0]}, d[1], d[2], false)
			randomChanges(t, d[3], r, 60)
			layer := diff(t, d[1])
			if _, err := Unpack(t.Context(), d[4], bytes.NewReader(layer)); err != nil {
				t.Fatal(err)
			}
			mounted(t, d[5], []string{d[4], d[0]}, "", "", true)
			if diff := differences(describe(t, d[3]), describe(t, d[5])); diff != "" {
				t.Errorf("the container and its image differ:\n%s", diff)
			}
		})
	}
}

// randomChanges removes, replaces, renames, changes and adds files below dir.
func randomChanges(t *testing.T, dir string, r *rand.Rand, n int) {
	t.Helper()
	for i := range n {
		var paths []string
		err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if path != dir {
				paths = append(paths, path)
			}
			return err
		})
		if err != nil || len(paths) == 0 {
			t.Fatalf("%d paths, %v", len(paths), err)
		}
		p := paths[r.IntN(len(paths))]
		info, err := os.Lstat(p)
		if err != nil {
			t.Fatal(err)
		}
		switch r.IntN(6) {
		case 0:
			if i%4 == 0 || !info.IsDir() {
				err = os.RemoveAll(p)
			}
		case 1: // removed and made again: an opaque directory, where it was one
			if err = os.RemoveAll(p); err == nil {
				err = os.Mkdir(p, 0o711)
			}
		case 2:
			if err = os.RemoveAll(p); err == nil {
				err = os.WriteFile(p, []byte("replaced"), 0o600)
			}
		case 3:
			if info.Mode()&os.ModeSymlink == 0 {
				err = os.Chmod(p, 0o751)
			}
		case 4:
			err = os.WriteFile(filepath.Join(filepath.Dir(p), fmt.Sprint("new", i)), []byte("new"), 0o644)
		case 5:
			err = os.Rename(p, filepath.Join(filepath.Dir(p), fmt.Sprint("moved", i)))
			if errors.Is(err, unix.EXDEV) {
				err = nil // a directory of a lower layer: programs copy it then
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestDiffRefusesWhatALayerCannotSay(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(dir string) error
		want string
		is   error
	}{
		{"a name that means a whiteout", func(dir string) error { return os.WriteFile(dir+"/.wh.f", nil, 0o644) }, ".wh.f: in a layer this name would hide a file", errdefs.ErrInvalidArgument},
		{"a renamed directory", func(dir string) error {
			return errors.Join(os.Mkdir(dir+"/d", 0o755), unix.Setxattr(dir+"/d", redirectXattr(), []byte("/e"), 0))
		}, "redirect_dir=off", errdefs.ErrFailedPrecondition},
		{"a file without content", func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/f", nil, 0o644), unix.Setxattr(dir+"/f", metacopyXattr(), nil, 0))
		}, "metacopy=off", errdefs.ErrFailedPrecondition},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := mkdirs(t, scratch(t), "upper")[0]
			if err := c.make(dir); err != nil {
				t.Fatal(err)
			}
			err := Diff(t.Context(), dir, &bytes.Buffer{})
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, c.is) {
				t.Errorf("error %v, want one that is %v and says %q", err, c.is, c.want)
			}
		})
	}
}

// TestUppersOfOtherMounts: an upper that was mounted with redirect_dir or
// metacopy holds directories without their content, and files likewise. It is
// refused, by every reader of it, with the cure: never a layer with holes.
func TestUppersOfOtherMounts(t *testing.T) {
	if inUserNamespace() {
		t.Skip("requires root of the host: the kernel refuses both options with userxattr")
	}
	for _, c := range []struct {
		option, want string
		change       func(m string) error
		changes      bool // whether a list of changes is refused as well
	}{
		{"redirect_dir=on", "new is a renamed directory (trusted.overlay.redirect), with its content elsewhere: mount with redirect_dir=off", func(m string) error { return os.Rename(m+"/old", m+"/new") }, true},
		{"metacopy=on", "old/f has no content of its own (trusted.overlay.metacopy): mount with metacopy=off", func(m string) error { return os.Chmod(m+"/old/f", 0o600) }, false},
	} {
		t.Run(c.option, func(t *testing.T) {
			dir := scratch(t)
			d := mkdirs(t, dir, "lower/old", "upper", "work", "m")
			write(t, d[0]+"/f", "content")
			lower := dir + "/lower"
			options := "lowerdir=" + lower + ",upperdir=" + d[1] + ",workdir=" + d[2] + "," + c.option
			if err := unix.Mount("overlay", d[3], "overlay", 0, options); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(c.change(d[3]), Unmount(t.Context(), d[3])); err != nil {
				t.Fatal(err)
			}
			err := Diff(t.Context(), d[1], &bytes.Buffer{})
			if !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("diff: %v, want %q", err, c.want)
			}
			changes, err := Changes(t.Context(), d[1], []string{lower})
			if c.changes && !errors.Is(err, errdefs.ErrFailedPrecondition) || !c.changes && (err != nil || len(changes) != 2) {
				t.Errorf("changes: %v, %v", changes, err)
			}
		})
	}
}
