//go:build linux && (exercise || solution)

package nowayout

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"drydock.example/01-chroot/hosttest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

// scene is a layer's directory and one outside of it, with a file.
func scene(t *testing.T) (root, outside string) {
	t.Helper()
	dir := t.TempDir()
	root, outside = filepath.Join(dir, "layer"), filepath.Join(dir, "outside")
	for _, d := range []string{filepath.Join(root, "usr/lib"), outside} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "victim"), []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	return root, outside
}

func create(t *testing.T, root, name string) error {
	t.Helper()
	f, err := Create(root, name)
	if err != nil {
		return err
	}
	_, err = f.WriteString("owned")
	return errors.Join(err, f.Close())
}

func untouched(t *testing.T, outside, how string) {
	t.Helper()
	entries, err := os.ReadDir(outside)
	b, _ := os.ReadFile(filepath.Join(outside, "victim"))
	if err != nil || len(entries) != 1 || string(b) != "precious" {
		t.Fatalf("%s: outside of the layer there are now %v, and the victim says %q: the kernel followed a link from the host's root", how, entries, b)
	}
}

func TestNoWayOut(t *testing.T) {
	for _, c := range []struct{ how, link, target, name string }{
		{"dots", "", "", "../outside/victim"},
		{"a link to the outside", "out", "OUTSIDE", "out/victim"},
		{"a relative link", "out", "../outside", "out/victim"},
		{"the name itself is a link", "usr/f", "OUTSIDE/victim", "usr/f"},
	} {
		root, outside := scene(t)
		if c.link != "" {
			target := c.target
			if len(target) > 7 && target[:7] == "OUTSIDE" {
				target = outside + target[7:]
			}
			if err := os.Symlink(target, filepath.Join(root, c.link)); err != nil {
				t.Fatal(err)
			}
		}
		_ = create(t, root, c.name) // an error is an answer, too
		untouched(t, outside, c.how)
	}
}

func TestLinksInsideWork(t *testing.T) {
	root, _ := scene(t)
	if err := os.Symlink("/usr/lib", filepath.Join(root, "lib")); err != nil {
		t.Fatal(err)
	}
	if err := create(t, root, "lib/f"); err != nil {
		t.Fatalf("%v: /usr/lib is a directory of the layer, for a process whose / is the layer", err)
	}
	if b, err := os.ReadFile(filepath.Join(root, "usr/lib/f")); string(b) != "owned" {
		t.Errorf("usr/lib/f: %q, %v", b, err)
	}
	if err := create(t, root, "lib/f"); err != nil {
		t.Errorf("a second time: %v: a later entry replaces an earlier one", err)
	}
}

// TestSwapped: what was checked a moment ago may be a link now.
func TestSwapped(t *testing.T) {
	root, outside := scene(t)
	d, link := filepath.Join(root, "d"), filepath.Join(root, "link")
	if err := errors.Join(os.Mkdir(d, 0o755), os.Symlink(outside, link)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var attacker sync.WaitGroup
	attacker.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, d, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
			}
		}
	})
	for range 5000 {
		_ = create(t, root, "d/file") // it fails while d is the link
	}
	close(stop)
	attacker.Wait()
	untouched(t, outside, "a directory that changes places with a link")
}
