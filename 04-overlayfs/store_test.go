//go:build linux

package overlayfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"drydock.example/01-chroot/hosttest"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := OpenStore(filepath.Join(dir, "layers"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// apply applies a layer of items and returns its diff ID.
func apply(t testing.TB, s *Store, items ...item) digest.Digest {
	t.Helper()
	layer := archive(t, items...)
	diffID := digest.FromBytes(layer)
	if _, err := s.Apply(t.Context(), diffID, bytes.NewReader(layer)); err != nil {
		t.Fatal(err)
	}
	return diffID
}

// empty fails the test if anything is in the store's directory.
func (s *Store) empty(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("the store holds %v, %v", entries, err)
	}
}

func TestApply(t *testing.T) {
	s := openStore(t, scratch(t))
	layer := archive(t, regular("a", "12345"), directory("d", 0o755), regular("d/b", "678"), hardlink("c", "a"))
	diffID := digest.FromBytes(layer)
	if s.Has(diffID) {
		t.Error("the layer is there before it was applied")
	}
	for range 2 {
		size, err := s.Apply(t.Context(), diffID, bytes.NewReader(layer))
		if err != nil || size != 8 {
			t.Fatalf("size %d, %v; want 8", size, err)
		}
	}
	// One that is there is not read again.
	if _, err := s.Apply(t.Context(), diffID, iotest.ErrReader(errors.New("read"))); err != nil {
		t.Error(err)
	}
	imported, size, err := s.Import(t.Context(), bytes.NewReader(layer))
	if err != nil || imported != diffID || size != 8 {
		t.Errorf("imported as %s with %d bytes, %v", imported, size, err)
	}
	if size, err := s.Size(diffID); err != nil || size != 8 {
		t.Errorf("size %d, %v", size, err)
	}
	if all, err := s.List(); err != nil || !slices.Equal(all, []digest.Digest{diffID}) {
		t.Errorf("list: %v, %v", all, err)
	}
	lower, err := s.Lower([]digest.Digest{diffID})
	if err != nil || len(lower) != 1 || read(t, lower[0]+"/d/b") != "678" {
		t.Errorf("lower: %v, %v", lower, err)
	}
	if info, err := os.Stat(s.dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the store's directory: %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(lower[0]); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the layer's directory: %v, %v", info.Mode(), err)
	}
	if err := s.Remove(t.Context(), diffID); err != nil || s.Has(diffID) {
		t.Errorf("remove: %v", err)
	}
	s.empty(t)
}

func TestApplyChecksTheWholeStream(t *testing.T) {
	s := openStore(t, scratch(t))
	layer := append(archive(t, regular("a", "x")), "what comes after the archive's end counts, too"...)
	if _, err := s.Apply(t.Context(), digest.FromBytes(layer), bytes.NewReader(layer)); err != nil {
		t.Error(err)
	}
	sha512 := digest.SHA512.FromBytes(layer)
	if _, err := s.Apply(t.Context(), sha512, bytes.NewReader(layer)); err != nil || !s.Has(sha512) {
		t.Errorf("sha512: %v", err)
	}
	if all, _ := s.List(); len(all) != 2 || !slices.Contains(all, sha512) {
		t.Errorf("list: %v", all)
	}
}

// TestFailuresLeaveNothing: whatever ends an Apply, no trace of it remains.
func TestFailuresLeaveNothing(t *testing.T) {
	layer := archive(t, directory("d", 0o755), regular("d/a", "x"), regular("d/b", strings.Repeat("y", 1<<20)), regular("d/c", "z"))
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the user has had enough"))
	for _, c := range []struct {
		name   string
		ctx    context.Context
		diffID digest.Digest
		tar    io.Reader
		want   string
		is     error
	}{
		{"another digest", t.Context(), digest.FromString("x"), bytes.NewReader(layer), "the archive has the digest " + digest.FromBytes(layer).String(), errdefs.ErrInvalidArgument},
		{"no digest", t.Context(), "sha256:x", bytes.NewReader(layer), `diff ID "sha256:x"`, errdefs.ErrInvalidArgument},
		{"a digest that is a path", t.Context(), "sha256:../../../../../../../../../../../../../../../../../../../etc/passwd", bytes.NewReader(layer), "diff ID", errdefs.ErrInvalidArgument},
		{"the connection breaks", t.Context(), digest.FromBytes(layer), io.MultiReader(bytes.NewReader(layer[:700_000]), iotest.ErrReader(errors.New("connection reset"))), "connection reset", nil},
		{"the connection ends", t.Context(), digest.FromBytes(layer), bytes.NewReader(layer[:700_000]), "unexpected EOF", errdefs.ErrInvalidArgument},
		{"cancelled", cancelled, digest.FromBytes(layer), bytes.NewReader(layer), "had enough", nil},
		{"an escape in the last entry", t.Context(), "", bytes.NewReader(archive(t, regular("a", "x"), regular("../b", "x"))), "leads out", errdefs.ErrInvalidArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openStore(t, scratch(t))
			_, err := s.Apply(c.ctx, c.diffID, c.tar)
			if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %v, want %v with %q", err, c.is, c.want)
			}
			s.empty(t)
		})
	}
}

func TestFullDiskLeavesNothing(t *testing.T) {
	scratch(t)
	for _, c := range []struct {
		name, options string
		items         func() []item
	}{
		{"of bytes", "size=4m", func() (all []item) {
			for i := range 100 {
				all = append(all, regular(fmt.Sprint("f", i), strings.Repeat("x", 80_000)))
			}
			return all
		}},
		{"of inodes", "nr_inodes=100", func() (all []item) {
			for i := range 200 {
				all = append(all, regular(fmt.Sprint("f", i), ""))
			}
			return all
		}},
		// The files' sizes fit; what each takes on the disk does not.
		{"of pages", "size=1m", func() (all []item) {
			for i := range 1000 {
				all = append(all, regular(fmt.Sprint("f", i), "x"))
			}
			return all
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openStore(t, tmpfs(t, c.options))
			_, err := s.Apply(t.Context(), "", bytes.NewReader(archive(t, c.items()...)))
			if !errors.Is(err, unix.ENOSPC) {
				t.Errorf("error %v, want %v", err, unix.ENOSPC)
			}
			s.empty(t)
			apply(t, s, regular("small", "x")) // there is room again
		})
	}
}

func TestOpenStoreRemovesLeftovers(t *testing.T) {
	dir := scratch(t)
	s := openStore(t, dir)
	dead, err := s.create()
	if err != nil {
		t.Fatal(err)
	}
	write(t, dead.path+"/diff/f", "half a layer")
	dead.lock.Close() // as a killed process does
	alive, err := s.create()
	if err != nil {
		t.Fatal(err)
	}
	openStore(t, dir)
	if _, err := os.Stat(dead.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed process left is there: %v", err)
	}
	if _, err := os.Stat(alive.path); err != nil {
		t.Errorf("what another process is making is gone: %v", err)
	}
	if err := alive.remove(); err != nil {
		t.Error(err)
	}
}

// TestTwoAtOnce: the same layer from many callers is unpacked by one of them.
func TestTwoAtOnce(t *testing.T) {
	s := openStore(t, scratch(t))
	layer := archive(t, regular("f", strings.Repeat("x", 1<<20)))
	var readers sync.Map
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := io.TeeReader(bytes.NewReader(layer), writerFunc(func(b []byte) (int, error) { readers.Store(i, true); return len(b), nil }))
			if size, err := s.Apply(t.Context(), digest.FromBytes(layer), r); err != nil || size != 1<<20 {
				t.Errorf("size %d, %v", size, err)
			}
		})
	}
	wg.Wait()
	n := 0
	readers.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d streams were read, want 1", n)
	}
}

// TestSecondTriesWhenFirstFails: who waits for another's failure gets its turn.
func TestSecondTriesWhenFirstFails(t *testing.T) {
	s := openStore(t, scratch(t))
	layer := archive(t, regular("f", "x"))
	r, w := io.Pipe()
	first := make(chan error)
	go func() {
		_, err := s.Apply(t.Context(), digest.FromBytes(layer), r)
		first <- err
	}()
	w.Write(layer[:10]) // the first is at work
	second := make(chan error)
	go func() {
		_, err := s.Apply(t.Context(), digest.FromBytes(layer), bytes.NewReader(layer))
		second <- err
	}()
	w.CloseWithError(errors.New("connection reset"))
	if err := <-first; err == nil {
		t.Error("the first has not failed")
	}
	if err := <-second; err != nil {
		t.Errorf("the second: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestLayersLieApart: ext4 is told that layers have nothing to do with each other.
func TestLayersLieApart(t *testing.T) {
	dir := t.TempDir()
	hosttest.Require(t, func() error {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			return err
		}
		if st.Type != unix.EXT4_SUPER_MAGIC {
			return errors.New("needs a TMPDIR on ext4")
		}
		return nil
	})
	f, err := os.Open(openStore(t, dir).dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS); err != nil || flags&topDir == 0 {
		t.Errorf("flags %#x, %v: want FS_TOPDIR_FL among them", flags, err)
	}
}

func TestNotInTheStore(t *testing.T) {
	s := openStore(t, scratch(t))
	diffID := digest.FromString("none")
	_, sizeErr := s.Size(diffID)
	_, lowerErr := s.Lower([]digest.Digest{diffID})
	for _, err := range []error{sizeErr, lowerErr, s.Remove(t.Context(), diffID)} {
		if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), diffID.String()) {
			t.Errorf("error %v, want not found, with the diff ID", err)
		}
	}
}
