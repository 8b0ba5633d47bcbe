//go:build linux

package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// LoadLayout brings the images of an OCI image layout here that is a directory
// (image specification, image-layout.md), as skopeo, umoci and buildah write
// it. Such a layout often names an image by a tag alone: where repository is
// not empty, that tag becomes one of the repository.
//
// The directory may be a stranger's: a symlink in it leads nowhere outside it.
func (s *Store) LoadLayout(ctx context.Context, dir, repository string, progress func(Progress)) ([]Image, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	l := &loading{store: s, tables: make(map[string][]byte), repository: repository, progress: progress}
	defer l.release()
	l.open = func(d digest.Digest) (*os.File, error) { return openIn(root, blobPath(d)) }
	for _, name := range []string{ocispec.ImageLayoutFile, ocispec.ImageIndexFile} {
		f, err := openIn(root, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errorf(errdefs.ErrInvalidArgument, "load: %s is no OCI image layout: it has no %s", dir, name)
		} else if err != nil {
			return nil, fmt.Errorf("load: %w", err)
		}
		l.tables[name], err = readDocument(f, name)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("load: %w", err)
		}
	}
	all, err := l.fromIndex(ctx)
	if err != nil {
		return all, fmt.Errorf("load: %w", err)
	}
	return all, nil
}

// openIn opens a regular file below root.
func openIn(root *os.Root, name string) (*os.File, error) {
	// Without O_NONBLOCK a FIFO of this name would wait for a writer.
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errorf(errdefs.ErrInvalidArgument, "%s is no regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// SaveLayout adds images to an OCI image layout in a directory, which is made
// where there is none. An image takes the place of one that has its tag there.
// What the layout listed before is listed until all of the new images is there.
func (s *Store) SaveLayout(ctx context.Context, dir string, names ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	if f, err := openIn(root, ocispec.ImageIndexFile); err == nil {
		raw, err := readDocument(f, ocispec.ImageIndexFile)
		f.Close()
		if err != nil {
			return err
		}
		if err := json.Unmarshal(raw, &index); err != nil {
			return errorf(errdefs.ErrInvalidArgument, "save: %s/%s: %w", dir, ocispec.ImageIndexFile, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	put := func(name string, _ int64, content io.Reader) error { return putIn(root, name, content) }
	images, _, err := s.saveImages(ctx, put, names)
	if err != nil {
		return err
	}
	for _, desc := range images {
		index.Manifests = slices.DeleteFunc(index.Manifests, func(old ocispec.Descriptor) bool {
			tag := old.Annotations[ocispec.AnnotationRefName]
			return tag != "" && tag == desc.Annotations[ocispec.AnnotationRefName] || tag == "" && old.Digest == desc.Digest
		})
		index.Manifests = append(index.Manifests, desc)
	}
	if err := putJSON(put, ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}); err != nil {
		return err
	}
	return putJSON(put, ocispec.ImageIndexFile, index)
}

// putIn makes a file appear below root, complete.
func putIn(root *os.Root, name string, content io.Reader) (err error) {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	tmp := name + ".tmp"
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(tmp))
	}
	return nil
}
