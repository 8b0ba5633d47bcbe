//go:build linux

package overlayfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// BenchmarkImage applies whole images from compressed blobs on the disk, as the
// last half of a pull: beside what umoci and podman need for the same layout,
// and beside the two things that cannot be spared, inflating and writing.
//
// Each program gets an empty directory of its own every time, on the file
// system of $TMPDIR. Nothing of the dirty pages that one leaves is charged to
// the next: the disk is in order before each.
func BenchmarkImage(b *testing.B) {
	hosttest.Require(b, hosttest.Root)
	scratch := b.TempDir()
	for _, c := range []struct {
		name   string
		layers [][]byte
	}{
		{"300MB", realLayers(b, 4, 75<<20)},
		{"20000 small files", [][]byte{smallFiles(b, 20_000)}},
	} {
		image := writeLayout(b, scratch, c.layers...)
		var plain int64
		for _, layer := range c.layers {
			plain += int64(len(layer))
		}
		run := func(name string, apply func(dir string) error) {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				b.SetBytes(plain)
				for b.Loop() {
					b.StopTimer()
					dir, err := os.MkdirTemp(scratch, "")
					if err != nil {
						b.Fatal(err)
					}
					unix.Sync()
					b.StartTimer()
					if err := apply(dir); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("drydock", func(dir string) error { return image.apply(b, dir) })
		if hosttest.Program("umoci")() == nil {
			run("umoci unpack", func(dir string) error {
				return program("umoci", "unpack", "--image", image.dir+":test", dir+"/bundle")
			})
		}
		if hosttest.Program("podman")() == nil {
			run("podman pull", func(dir string) error {
				// Podman wants a runroot of 50 characters at most, and small letters in an image's path.
				run, err := os.MkdirTemp("/run", "")
				if err != nil {
					return err
				}
				defer os.RemoveAll(run)
				if err := os.Symlink(image.dir, run+"/oci"); err != nil {
					return err
				}
				defer unix.Unmount(dir+"/root/overlay", unix.MNT_DETACH)
				return program("podman", "--root", dir+"/root", "--runroot", run, "--storage-driver", "overlay",
					"pull", "--quiet", "oci:"+run+"/oci:test")
			})
		}
		run("floor: inflate", func(string) error {
			return image.each(func(_ digest.Digest, plain io.Reader) error {
				_, err := io.Copy(io.Discard, plain)
				return err
			})
		})
		run("floor: write", func(dir string) error { return onlyWrite(dir, c.layers) })
	}
}

func program(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return errors.New(name + ": " + err.Error() + ": " + string(out))
	}
	return nil
}

// each calls do with every inflated layer, all at the same time.
func (l *layout) each(do func(digest.Digest, io.Reader) error) error {
	var all errgroup.Group
	for i, blob := range l.blobs {
		all.Go(func() error {
			f, err := os.Open(blob)
			if err != nil {
				return err
			}
			defer f.Close()
			plain, err := gzip.NewReader(f)
			if err != nil {
				return err
			}
			return do(l.diffIDs[i], plain)
		})
	}
	return all.Wait()
}

// apply applies the image's layers to a new store.
func (l *layout) apply(t testing.TB, dir string) error {
	s, err := OpenStore(dir + "/layers")
	if err != nil {
		return err
	}
	return l.each(func(diffID digest.Digest, plain io.Reader) error {
		_, err := s.Apply(t.Context(), diffID, plain)
		return err
	})
}

// realLayers packs the programs and libraries of this machine into n layers of
// size bytes: no generated content inflates as real files do.
func realLayers(t testing.TB, n, size int) [][]byte {
	t.Helper()
	var layers [][]byte
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	next := func() {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		layers = append(layers, bytes.Clone(b.Bytes()))
		b.Reset()
		w = tar.NewWriter(&b)
	}
	pack := func(path string, e fs.DirEntry, err error) error {
		if err != nil || len(layers) == n {
			return fs.SkipAll
		}
		info, err := e.Info()
		if err != nil || !e.IsDir() && !info.Mode().IsRegular() || info.Size() > 8<<20 {
			return nil
		}
		h, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		h.Name = strings.TrimPrefix(path, "/")
		if e.IsDir() {
			h.Name += "/"
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if !e.IsDir() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if _, err := w.Write(content); err != nil {
				return err
			}
		}
		if b.Len() >= size {
			next()
		}
		return nil
	}
	for _, dir := range []string{"/usr/share", "/usr/bin", "/usr/lib", "/usr/local"} {
		if err := filepath.WalkDir(dir, pack); err != nil {
			t.Fatal(err)
		}
	}
	if len(layers) < n {
		next()
	}
	return layers
}

// onlyWrite makes the files of layers from memory, two layers at a time, and
// has them on the disk: no names to check, no digest, no attributes.
func onlyWrite(dir string, layers [][]byte) error {
	if err := spread(dir); err != nil {
		return err
	}
	var all errgroup.Group
	all.SetLimit(2)
	for _, layer := range layers {
		all.Go(func() error {
			root, err := os.MkdirTemp(dir, "")
			if err != nil {
				return err
			}
			r := tar.NewReader(bytes.NewReader(layer))
			for {
				h, err := r.Next()
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
				path := filepath.Join(root, h.Name)
				switch h.Typeflag {
				case tar.TypeDir:
					err = os.MkdirAll(path, 0o755)
				case tar.TypeReg:
					content := make([]byte, h.Size)
					if _, err = io.ReadFull(r, content); err == nil {
						if err = os.WriteFile(path, content, 0o644); errors.Is(err, fs.ErrNotExist) {
							err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644))
						}
					}
				}
				if err != nil {
					return err
				}
			}
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}
