//go:build linux && (exercise || solution)

package byhand

import (
	"os"
	"path/filepath"
	"testing"

	"drydock.example/01-chroot/hosttest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestMerge(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	for _, names := range [][3]string{{"base", "middle", "top"}, {"sha256:1", "sha256:2", "one,two"}} {
		t.Run(names[0], func(t *testing.T) {
			var layers []string
			for i, name := range names {
				layer := filepath.Join(dir, name)
				layers = append([]string{layer}, layers...)
				write(t, filepath.Join(layer, "of-"+name), name)
				if i > 0 {
					write(t, filepath.Join(layer, "all"), name)
				}
			}
			upper, work, target := filepath.Join(dir, names[0]+"-upper"), filepath.Join(dir, names[0]+"-work"), filepath.Join(dir, names[0]+"-m")
			for _, d := range []string{upper, work, target} {
				if err := os.Mkdir(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := Merge(target, layers, upper, work); err != nil {
				t.Fatalf("%v\nENOENT for layers that are there: which characters separate layers, and which separate options?", err)
			}
			defer unix.Unmount(target, unix.MNT_DETACH)
			var st unix.Statfs_t
			if err := unix.Statfs(target, &st); err != nil || st.Type != unix.OVERLAYFS_SUPER_MAGIC {
				t.Fatalf("what is mounted has type %#x, %v: the kernel's merging file system is called overlay", st.Type, err)
			}
			for _, name := range names {
				if _, err := os.Stat(filepath.Join(target, "of-"+name)); err != nil {
					t.Errorf("a file of the layer %s is not in the merged view: %v", name, err)
				}
			}
			if b, err := os.ReadFile(filepath.Join(target, "all")); string(b) != names[2] {
				t.Errorf("the file that two layers have is that of %q, %v: lowerdir wants the topmost layer first", b, err)
			}
			if err := os.WriteFile(filepath.Join(target, "new"), nil, 0o644); err != nil {
				t.Fatalf("writing: %v: without upperdir and workdir an overlay is read-only", err)
			}
			if _, err := os.Stat(filepath.Join(upper, "new")); err != nil {
				t.Errorf("what was written is not in upper: %v", err)
			}
		})
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
