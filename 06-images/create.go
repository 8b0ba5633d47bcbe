//go:build linux

package images

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Create makes an image of layers, each an uncompressed tar, the lowest first,
// and names it. In config, RootFS is filled in, and the platform is the host's
// where it is empty; the same input gives the same image ID. The layers are
// kept compressed as well, so that the image has a manifest and can be sent to
// a registry like one that came from there.
func (s *Store) Create(ctx context.Context, name string, config ocispec.Image, layers ...io.Reader) (Image, error) {
	ref, err := ParseReference(name)
	if err != nil {
		return Image{}, err
	}
	if _, ok := ref.(reference.Canonical); ok {
		return Image{}, errorf(errdefs.ErrInvalidArgument, "%s: a new image is named by a tag, its digest follows from what it holds", name)
	}
	if config.OS == "" && config.Architecture == "" {
		config.Platform = HostPlatform()
	}
	config.RootFS = ocispec.RootFS{Type: "layers"}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
	}
	for i, layer := range layers {
		desc, diffID, release, err := s.createLayer(ctx, layer)
		if err != nil {
			return Image{}, fmt.Errorf("create %s: layer %d: %w", name, i+1, err)
		}
		defer release()
		m.Layers = append(m.Layers, desc)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
	}

	rawConfig, err := json.Marshal(config)
	if err != nil {
		return Image{}, fmt.Errorf("create %s: config: %w", name, err)
	}
	m.Config = ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageConfig,
		Digest:    digest.FromBytes(rawConfig),
		Size:      int64(len(rawConfig)),
	}
	rawManifest, err := json.Marshal(m)
	if err != nil {
		return Image{}, fmt.Errorf("create %s: manifest: %w", name, err)
	}
	doc := document{m.MediaType, digest.FromBytes(rawManifest), rawManifest}
	defer s.hold(m.Config.Digest, doc.digest)()
	img, err := s.add(doc, m, rawConfig, config, ref.String())
	if err != nil {
		return Image{}, fmt.Errorf("create %s: %w", name, err)
	}
	return img, nil
}

// createLayer compresses a tar into a blob, and unpacks that blob as if it had
// been fetched. What it made is kept from removal until release is called.
func (s *Store) createLayer(ctx context.Context, tar io.Reader) (_ ocispec.Descriptor, diffID digest.Digest, release func(), err error) {
	w, err := s.content.Writer("")
	if err != nil {
		return ocispec.Descriptor{}, "", nil, err
	}
	defer w.Close()
	diff := digest.Canonical.Digester()
	// The fastest level: the next reader is on this machine.
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return ocispec.Descriptor{}, "", nil, err
	}
	if _, err := io.Copy(io.MultiWriter(z, diff.Hash()), contextReader{ctx, tar}); err != nil {
		return ocispec.Descriptor{}, "", nil, err
	}
	if err := z.Close(); err != nil {
		return ocispec.Descriptor{}, "", nil, err
	}
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: w.Digest(), Size: w.size}
	diffID = diff.Digest()

	release = s.hold(desc.Digest, diffID)
	defer func() {
		if err != nil {
			release()
		}
	}()
	if err := w.Commit(); err != nil {
		return desc, diffID, nil, err
	}
	return desc, diffID, release, s.layer(ctx, nil, desc, diffID, func(Progress) {})
}

// contextReader stops reading when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
