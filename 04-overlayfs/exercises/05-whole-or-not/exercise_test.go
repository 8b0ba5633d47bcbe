//go:build linux && (exercise || solution)

package wholeornot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

const files = 20

// newStore is an empty directory in memory: a disk would sync everyone's files.
func newStore(t *testing.T) string {
	t.Helper()
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func fill(dir string) error {
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("content"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func TestNobodySeesAHalf(t *testing.T) {
	store := newStore(t)
	err := Publish(store, "layer", func(dir string) error {
		if _, err := os.Lstat(filepath.Join(store, "layer")); err == nil {
			t.Error("the name is there before the directory is filled: who looks now takes it for whole")
		}
		var there, beside unix.Stat_t
		if err := errors.Join(unix.Stat(dir, &there), unix.Stat(store, &beside)); err != nil {
			return err
		}
		if there.Dev != beside.Dev {
			t.Error("the directory is filled on another file system than the store's: nothing can be renamed from there")
		}
		return fill(dir)
	})
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Join(store, "layer")); err != nil || len(entries) != files {
		t.Errorf("the directory has %d files, %v; want %d", len(entries), err, files)
	}
	if entries, _ := os.ReadDir(store); len(entries) != 1 {
		t.Errorf("the store holds %v: something was not tidied up", entries)
	}
}

func TestAnErrorLeavesNothing(t *testing.T) {
	store := newStore(t)
	broken := errors.New("the connection broke")
	err := Publish(store, "layer", func(dir string) error { return errors.Join(fill(dir), broken) })
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if entries, _ := os.ReadDir(store); len(entries) != 0 {
		t.Errorf("the store holds %v after an error", entries)
	}
}

func TestTheFirstStays(t *testing.T) {
	store := newStore(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := Publish(store, "layer", fill); err != nil {
				t.Errorf("%v: the layer is there, which is all that was wanted", err)
			}
		})
	}
	all.Wait()
	if entries, err := os.ReadDir(filepath.Join(store, "layer")); err != nil || len(entries) != files {
		t.Errorf("the directory has %d files, %v; want %d", len(entries), err, files)
	}
	if entries, _ := os.ReadDir(store); len(entries) != 1 {
		t.Errorf("the store holds %v", entries)
	}
}
