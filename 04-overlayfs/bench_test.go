//go:build linux

package overlayfs

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"drydock.example/01-chroot/hosttest"
	"golang.org/x/sys/unix"
)

// smallFiles is a layer like a language's package directory: n files in n/10
// directories, 5 KB each on average, one link for twenty files.
func smallFiles(t testing.TB, n int) []byte {
	r := rand.New(rand.NewPCG(1, 1))
	content := bytes.Repeat([]byte("All work and no play makes Jack a dull boy.\n"), 1000)
	var items []item
	for i := range n {
		if i%10 == 0 {
			if i%100 == 0 {
				items = append(items, directory(fmt.Sprintf("usr%d", i/100), 0o755))
			}
			items = append(items, directory(fmt.Sprintf("usr%d/dir%d", i/100, i/10%10), 0o755))
		}
		name := fmt.Sprintf("usr%d/dir%d/file%d.txt", i/100, i/10%10, i)
		if i%20 == 19 {
			items = append(items, symlink(name, "file0.txt"))
			continue
		}
		items = append(items, regular(name, string(content[:r.IntN(10_000)])))
	}
	return archive(t, items...)
}

// BenchmarkUnpack unpacks 20,000 small files to the disk, ours and the tar
// programs in turn. The store's figure has the digest and the syncfs in it.
func BenchmarkUnpack(b *testing.B) {
	hosttest.Require(b, hosttest.Root)
	layer := smallFiles(b, 20_000)
	// Nothing is removed before the end: for some seconds ext4 walks around the
	// inodes of deleted files, and would measure that.
	scratch := b.TempDir()
	file := filepath.Join(scratch, "layer.tar")
	if err := os.WriteFile(file, layer, 0o600); err != nil {
		b.Fatal(err)
	}
	run := func(name string, unpack func(dir string) error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(layer)))
			for b.Loop() {
				b.StopTimer()
				dir, err := os.MkdirTemp(scratch, "")
				if err != nil {
					b.Fatal(err)
				}
				unix.Sync()
				b.StartTimer()
				if err := unpack(dir); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("Unpack", func(dir string) error {
		_, err := Unpack(context.Background(), dir, bytes.NewReader(layer))
		return err
	})
	run("Store.Import", func(dir string) error {
		s, err := OpenStore(dir)
		if err != nil {
			return err
		}
		_, _, err = s.Import(context.Background(), bytes.NewReader(layer))
		return err
	})
	for _, program := range []string{"tar", "bsdtar"} {
		if hosttest.Program(program)() == nil {
			run(program, func(dir string) error { return exec.Command(program, "-C", dir, "-x", "-p", "-f", file).Run() })
		}
	}
	run("floor: create, write, close", func(dir string) error { return onlyFiles(dir, len(layer)) })
}

// onlyFiles makes as many files of about the same size in one directory, with
// nothing but open, write and close.
func onlyFiles(dir string, size int) error {
	content := make([]byte, size/20_000)
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for i := range 20_000 {
		f, err := unix.Openat(fd, fmt.Sprint(i), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		if err := writeAll(f, content); err != nil {
			return err
		}
		unix.Close(f)
	}
	return nil
}

// BenchmarkDiff makes a layer of 20,000 small files.
func BenchmarkDiff(b *testing.B) {
	hosttest.Require(b, hosttest.Root)
	layer := smallFiles(b, 20_000)
	dir := unpacked(b, b.TempDir())
	if _, err := Unpack(context.Background(), dir, bytes.NewReader(layer)); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(layer)))
	for b.Loop() {
		if err := Diff(context.Background(), dir, discard{}); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkMount mounts and unmounts a stack, by both ways.
func BenchmarkMount(b *testing.B) {
	dir := scratch(b)
	var lower []string
	for i := range 10 {
		lower = append(lower, mkdirs(b, dir, fmt.Sprintf("%064d/diff", i))...)
	}
	d := mkdirs(b, dir, "upper", "work", "m")
	o := &overlay{lower: lower, upper: d[0], work: d[1], options: layerOptions()}
	for name, mount := range map[string]func(context.Context, string) error{"layer by layer": o.fsmount, "one string": o.mount} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := mount(context.Background(), d[2]); err != nil {
					b.Fatal(err)
				}
				if err := Unmount(context.Background(), d[2]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
