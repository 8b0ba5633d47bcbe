//go:build linux

package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"drydock.example/04-overlayfs"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Import makes an image of a root file system, a tar that may be compressed by
// gzip or zstd, as one layer. config says how to run it.
func (s *Store) Import(ctx context.Context, name string, config ocispec.Image, root io.Reader) (Image, error) {
	plain, err := decompress(root)
	if err != nil {
		return Image{}, fmt.Errorf("import %s: %w", name, err)
	}
	defer plain.Close()
	config.History = append(config.History, ocispec.History{Created: config.Created, Comment: "Imported from -"})
	return s.Create(ctx, name, config, plain)
}

// Export writes the root file system of an image as one tar: what is in a lower
// layer and removed in a higher one is not in it, nor is the image's config.
func (s *Store) Export(ctx context.Context, nameOrID string, w io.Writer) (err error) {
	img, err := s.Get(nameOrID)
	if err != nil {
		return err
	}
	defer s.Hold(img)()
	lower, err := s.Lower(img)
	if err != nil {
		return err
	}
	if len(lower) == 0 {
		return errorf(errdefs.ErrFailedPrecondition, "export %s: it has no layers", nameOrID)
	}
	dir, err := os.MkdirTemp("", "export-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	if err := overlayfs.Mount(ctx, dir, lower, "", "", true); err != nil {
		return err
	}
	// Also after an interrupt, or the mount would stay.
	defer func() { err = errors.Join(err, overlayfs.Unmount(context.WithoutCancel(ctx), dir)) }()
	return overlayfs.Diff(ctx, dir, w)
}
