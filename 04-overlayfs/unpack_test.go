//go:build linux

package overlayfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

func TestUnpackEveryType(t *testing.T) {
	dir := scratch(t)
	large := strings.Repeat("0123456789abcdef", 100_000)
	root := unpacked(t, dir,
		directory("./", 0o711),
		directory("d", 0o1777).owned(7, 8),
		regular("d/small", "small").owned(1000, 100).mode(0o4755),
		regular("d/capable", "x").owned(1, 1).xattr("security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		regular("d/attr", "x").xattr("user.one", "1").xattr("user.two", "").xattr("trusted.overlay.opaque", "y").xattr("user.overlay.redirect", "/etc"),
		regular("large", large).mode(0o600),
		regular("open", "").mode(0o666),
		hardlink("d/again", "/d/small"),
		symlink("link", "d/small").owned(3, 4),
		node("fifo", tar.TypeFifo, 0, 0).mode(0o622),
		node("null", tar.TypeChar, 1, 3).mode(0o666),
		node("disk", tar.TypeBlock, 8, 1).owned(0, 6),
		directory("d/sub", 0o2750),
		regular("d/sub/f", "x"),
	)
	got := describe(t, root)
	wanted := map[string]string{
		".":         "mode=40711 owner=0:0 mtime=1700000000.123456789",
		"d":         "mode=41777 owner=7:8 mtime=1700000000.123456789",
		"d/sub":     "mode=42750 owner=0:0",
		"d/sub/f":   "mode=100644 owner=0:0 mtime=1700000000.123456789 size=1",
		"d/small":   "mode=104755 owner=1000:100 mtime=1700000000.123456789 size=5",
		"d/again":   "mode=104755 owner=1000:100 mtime=1700000000.123456789 size=5",
		"d/capable": `security.capability="\x01`,
		"d/attr":    `user.one="1" user.two=""`,
		"large":     "mode=100600 owner=0:0 mtime=1700000000.123456789 size=1600000",
		"open":      "mode=100666",
		"link":      "mode=120777 owner=3:4 mtime=1700000000.123456789 -> d/small",
		"fifo":      "mode=10622 owner=0:0 mtime=1700000000.123456789",
		"null":      "mode=20666 owner=0:0 mtime=1700000000.123456789 device=1:3",
		"disk":      "mode=60640 owner=0:6 mtime=1700000000.123456789 device=8:1",
	}
	if inUserNamespace() { // where only fifos can be made
		delete(wanted, "null")
		delete(wanted, "disk")
	}
	for name, want := range wanted {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s is\n\t%s\nwant\n\t%s", name, got[name], want)
		}
	}
	if !strings.HasSuffix(got["d/small"], " same-as=d/again") || !strings.HasSuffix(got["d/again"], " same-as=d/again") {
		t.Errorf("the hard link is another file: %s, %s", got["d/small"], got["d/again"])
	}
	if strings.Contains(got["d/attr"], "overlay") {
		t.Errorf("an archive has given overlay instructions: %s", got["d/attr"])
	}
	if read(t, root+"/large") != large {
		t.Error("the large file has another content")
	}
	if len(got) != len(wanted) {
		t.Errorf("%d files: %v", len(got), got)
	}
}

// merge mounts layers, the base first, and returns the merged directory.
func merge(t *testing.T, dir string, layers ...string) string {
	t.Helper()
	var lower []string
	for _, l := range layers {
		lower = append([]string{l}, lower...)
	}
	target, err := os.MkdirTemp(dir, "merged")
	if err != nil {
		t.Fatal(err)
	}
	mounted(t, target, lower, "", "", false)
	return target
}

// names returns the paths below dir, without dir.
func names(t *testing.T, dir string) string {
	var all []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, path); rel != "." {
			all = append(all, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func TestWhiteouts(t *testing.T) {
	base := []item{directory("d", 0o755), regular("d/a", "a"), regular("d/b", "b"), directory("d/sub", 0o755), regular("d/sub/c", "c"), regular("f", "f")}
	for _, c := range []struct {
		name  string
		items []item
		want  string
	}{
		{"a file", []item{regular("d/.wh.a", "")}, "d d/b d/sub d/sub/c f"},
		{"a directory", []item{regular(".wh.d", "")}, "f"},
		{"what is not there", []item{regular(".wh.none", "")}, "d d/a d/b d/sub d/sub/c f"},
		{"opaque", []item{directory("d", 0o755), regular("d/.wh..wh..opq", "")}, "d f"},
		{"opaque without an entry for the directory", []item{regular("d/.wh..wh..opq", ""), regular("d/new", "")}, "d d/new f"},
		{"opaque, siblings before the mark", []item{directory("d", 0o755), regular("d/new", ""), regular("d/.wh..wh..opq", "")}, "d d/new f"},
		{"a directory, then a new one", []item{regular(".wh.d", ""), directory("d", 0o755), regular("d/new", "")}, "d d/new f"},
		{"a new directory, then the whiteout", []item{directory("d", 0o755), regular("d/new", ""), regular(".wh.d", "")}, "d d/new f"},
		{"a directory, then a file in it", []item{regular(".wh.d", ""), regular("d/new", "")}, "d d/new f"},
		{"a file and a new file", []item{regular(".wh.f", ""), regular("f", "new")}, "d d/a d/b d/sub d/sub/c f"},
		{"a directory replaced by a file", []item{regular("d", "")}, "d f"},
		{"a file, then a directory of that name", []item{regular("d", ""), directory("d", 0o755)}, "d f"},
		{"a file replaced by a directory", []item{directory("f", 0o755), regular("f/x", "")}, "d d/a d/b d/sub d/sub/c f f/x"},
		{"as overlay writes it", []item{node("d/a", tar.TypeChar, 0, 0)}, "d d/b d/sub d/sub/c f"},
		{"notes of AUFS", []item{directory(".wh..wh.plnk", 0o700), regular(".wh..wh.aufs", "")}, "d d/a d/b d/sub d/sub/c f"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := scratch(t)
			m := merge(t, dir, unpacked(t, dir, base...), unpacked(t, dir, c.items...))
			if got := names(t, m); got != c.want {
				t.Errorf("the merged view has\n\t%s\nwant\n\t%s", got, c.want)
			}
		})
	}
}

func TestLaterEntriesReplaceEarlier(t *testing.T) {
	dir := scratch(t)
	root := unpacked(t, dir,
		regular("f", "1"), regular("f", "2"),
		directory("d", 0o755), directory("d/e", 0o755), regular("d/e/f", ""), symlink("d", "f"),
		symlink("s", "f"), directory("s", 0o700),
		regular("l", "l"), hardlink("l", "l"), hardlink("f2", "f"), regular("f2", "3"),
		directory("same", 0o755), regular("same/f", ""), directory("same", 0o711))
	got := describe(t, root)
	for name, want := range map[string]string{"f": "mode=100644", "d": "-> f", "s": "mode=40700", "l": "size=1", "same": "mode=40711", "same/f": "mode=100644"} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s is %s, want %s", name, got[name], want)
		}
	}
	if len(got) != 8 || read(t, root+"/f")+read(t, root+"/f2") != "23" {
		t.Errorf("%v", got)
	}
}

func TestImpliedDirectoriesOfOneLayer(t *testing.T) {
	dir := scratch(t)
	root := unpacked(t, dir, regular("a/b/f", ""))
	got := describe(t, root)
	if want := "mode=40755 owner=0:0 mtime=0.000000000"; got["a"] != want || got["a/b"] != want {
		t.Errorf("a is %s, a/b is %s, want %s", got["a"], got["a/b"], want)
	}
}

func TestSparseFiles(t *testing.T) {
	hosttest.Require(t, hosttest.Program("tar"))
	dir := scratch(t)
	d := mkdirs(t, dir, "in")
	f, err := os.Create(d[0] + "/sparse")
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("begin"), 0)
	f.WriteAt([]byte("middle"), 3<<20)
	if err := errors.Join(f.Truncate(20<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"gnu", "posix"} {
		out := mkdirs(t, dir, "out-"+format)[0]
		b, err := exec.Command("tar", "--sparse", "--format="+format, "-C", d[0], "-c", "sparse").Output()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Unpack(t.Context(), out, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		if read(t, d[0]+"/sparse") != read(t, out+"/sparse") {
			t.Errorf("%s: another content", format)
		}
		var st unix.Stat_t
		if err := unix.Stat(out+"/sparse", &st); err != nil || st.Blocks*512 > 64<<10 {
			t.Errorf("%s: %d bytes on disk for 11 that are written, %v", format, st.Blocks*512, err)
		}
	}
}

// TestHolesComeBack: a sparse file of a container takes no more disk when its
// layer has been unpacked.
func TestHolesComeBack(t *testing.T) {
	dir := scratch(t)
	d := mkdirs(t, dir, "upper", "layer")
	f, err := os.Create(d[0] + "/disk.img")
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := f.WriteAt([]byte("begin"), 0)
	_, err2 := f.WriteAt(bytes.Repeat([]byte("middle"), 50_000), 3<<20-100)
	if err := errors.Join(err1, err2, f.Truncate(30<<20+17), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Unpack(t.Context(), d[1], bytes.NewReader(diff(t, d[0]))); err != nil {
		t.Fatal(err)
	}
	if diff := differences(describe(t, d[0]), describe(t, d[1])); diff != "" {
		t.Error(diff)
	}
	var st unix.Stat_t
	if err := unix.Stat(d[1]+"/disk.img", &st); err != nil || st.Blocks*512 > 600<<10 {
		t.Errorf("%d bytes on disk for 300,005 that are written, %v", st.Blocks*512, err)
	}
}

// TestBombIsRefusedUnread: an archive that would fill the disk is refused by
// what its header says, whatever a few bytes of gzip would inflate to.
func TestBombIsRefusedUnread(t *testing.T) {
	s := openStore(t, tmpfs(t, "size=8m"))
	var bomb bytes.Buffer
	w := tar.NewWriter(&bomb)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "zeros", Size: 1 << 40}); err != nil {
		t.Fatal(err)
	}
	read := 0
	endless := readerFunc(func(b []byte) (int, error) { clear(b); read += len(b); return len(b), nil })
	_, err := s.Apply(t.Context(), "", io.MultiReader(&bomb, endless))
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "1099511627776 bytes, and") {
		t.Errorf("error %v", err)
	}
	if read > 4<<20 {
		t.Errorf("%d bytes of the bomb were read", read)
	}
	s.empty(t)
}

// TestSparseBomb: holes take no room and no bytes of the archive, but time.
func TestSparseBomb(t *testing.T) {
	hosttest.Require(t, hosttest.Program("tar"))
	in, out := scratch(t), tmpfs(t, "size=8m")
	for _, name := range []string{"/a", "/b", "/c"} {
		write(t, in+name, "x")
		if err := os.Truncate(in+name, 3<<20); err != nil {
			t.Fatal(err)
		}
	}
	b, err := exec.Command("tar", "--sparse", "-C", in, "-c", "a", "b", "c").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, err = Unpack(t.Context(), out, bytes.NewReader(b))
	if !errors.Is(err, unix.EFBIG) || !strings.Contains(err.Error(), `"c": a sparse file of 3145728 bytes, and 2097152 are left of the file system's size`) {
		t.Errorf("three files of 3 MB on a file system of 8: %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestArchivesOfOthers holds Unpack against what tar programs make of a tree.
func TestArchivesOfOthers(t *testing.T) {
	for _, c := range [][]string{
		{"tar", "--format=gnu", "-c", "."},
		{"tar", "--format=posix", "--xattrs", "--xattrs-include=*", "-c", "."},
		{"bsdtar", "--format=pax", "--xattrs", "-c", "."},
		{"bsdtar", "--format=gnutar", "-c", "."},
	} {
		t.Run(strings.Join(c, " "), func(t *testing.T) {
			hosttest.Require(t, hosttest.Program(c[0]))
			dir := scratch(t)
			in := mkdirs(t, dir, "in")[0]
			randomTree(t, in, rand.New(rand.NewPCG(1, 2)), 60)
			cmd := exec.Command(c[0], c[1:]...)
			cmd.Dir = in
			b, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			out := mkdirs(t, dir, "out")[0]
			if _, err := Unpack(t.Context(), out, bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
			want, got := describe(t, in), describe(t, out)
			if !strings.Contains(strings.Join(c, " "), "xattrs") {
				withoutXattrs(want)
			}
			if strings.Contains(strings.Join(c, " "), "gnu") {
				wholeSeconds(want)
				wholeSeconds(got)
			}
			if diff := differences(want, got); diff != "" {
				t.Errorf("packed and unpacked trees differ:\n%s", diff)
			}
		})
	}
}

func TestUnpackErrors(t *testing.T) {
	whole := archive(t, regular("f", strings.Repeat("x", 600_000)))
	for _, c := range []struct {
		name string
		tar  []byte
		want string
		is   error
	}{
		{"no tar", bytes.Repeat([]byte("no tar "), 200), "invalid tar header", errdefs.ErrInvalidArgument},
		{"cut within a header", whole[:100], "unexpected EOF", errdefs.ErrInvalidArgument},
		{"cut within a large file", whole[:400_000], "unexpected EOF", errdefs.ErrInvalidArgument},
		{"cut within a small file", archive(t, regular("f", "xxx"))[:513], "unexpected EOF", errdefs.ErrInvalidArgument},
		{"unknown type", archive(t, item{Header: tar.Header{Name: "f", Typeflag: 'Q'}}), `type 'Q' is unknown`, errdefs.ErrInvalidArgument},
		{"root is a file", archive(t, symlink("./", "x")), "the root of a layer is a directory", errdefs.ErrInvalidArgument},
		{"a file within a file", archive(t, regular("f", ""), hardlink("g", "f/x")), "f", errdefs.ErrInvalidArgument},
		{"device number", archive(t, node("d", tar.TypeChar, 1<<20, 0)), "device number 1048576:0", errdefs.ErrInvalidArgument},
		{"too large for the disk", hugeHeader(t), "are free", unix.ENOSPC},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := scratch(t)
			_, err := Unpack(t.Context(), dir, bytes.NewReader(c.tar))
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, c.is) {
				t.Errorf("error %v, want one that is %v and says %q", err, c.is, c.want)
			}
		})
	}
}

// hugeHeader is an archive that promises a file of an exabyte.
func hugeHeader(t *testing.T) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "bomb", Size: 1 << 60}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnpackStopsWhenCancelled(t *testing.T) {
	dir := scratch(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer r.Close()
	go func() {
		w.Write(archive(t, regular("f", "x"))[:1024])
		cancel()
		for i := range 1000 { // an archive without an end
			if _, err := w.Write(archive(t, regular(fmt.Sprint(i), "x"))[:1024+512]); err != nil {
				return
			}
		}
		w.Close()
	}()
	if _, err := Unpack(ctx, dir, r); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(archive(f, directory("d", 0o755), regular("d/f", "x"), symlink("s", "d"), regular("s/g", ""), hardlink("h", "d/f"), regular("d/.wh.x", "")))
	f.Add(archive(f, symlink("s", "/"), regular("s/../../victim", "x"), node("n", tar.TypeChar, 1, 3), regular(".wh..wh..opq", "")))
	f.Add(archive(f, regular("d/f", "x").xattr("user.a", "b"), symlink("d/f", "../../victim"), hardlink("x", "d/f"), directory("d", 0o700)))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		d := mkdirs(t, dir, "layer")
		write(t, dir+"/victim", "untouched")
		before := describe(t, dir)["victim"]
		// A sparse file may be so large that its holes take minutes.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		size, err := Unpack(ctx, d[0], bytes.NewReader(data))
		if entries, _ := os.ReadDir(dir); len(entries) != 2 || describe(t, dir)["victim"] != before {
			t.Errorf("the archive has reached outside (error %v)", err)
		}
		if err != nil || size > 1<<20 {
			return
		}
		// Whatever was taken can be given back, and taken again.
		layer := diff(t, d[0])
		again := mkdirs(t, dir, "again")[0]
		if _, err := Unpack(t.Context(), again, bytes.NewReader(layer)); err != nil {
			t.Fatalf("the diff of an unpacked archive is not unpacked: %v", err)
		}
		if !bytes.Equal(diff(t, again), layer) {
			t.Error("the diff of an unpacked archive gives another tree")
		}
	})
}
