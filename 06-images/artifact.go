//go:build linux

package images

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Artifact is anything but an image that a registry keeps as a manifest and
// blobs: the signature of an image, the list of what is in it, a chart. Source:
// OCI image-spec, manifest.md, "Guidelines for Artifact Usage".
type Artifact struct {
	Type        string              // a media type: application/spdx+json
	Subject     *ocispec.Descriptor // what it is about; nil: itself
	Annotations map[string]string
	Files       []string // paths of the files in it
}

// PushArtifact sends an artifact, and names it by tag, or with "" by its digest
// alone. The files' names travel as annotations of their blobs.
func (r *Repository) PushArtifact(ctx context.Context, tag string, a Artifact) (ocispec.Descriptor, error) {
	m := ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: a.Type,
		Config:       ocispec.DescriptorEmptyJSON,
		Layers:       []ocispec.Descriptor{},
		Subject:      a.Subject,
		Annotations:  a.Annotations,
	}
	empty := &blobUpload{repo: r, desc: m.Config, progress: func(Progress) {}}
	if err := empty.run(ctx, nil, func(at int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(m.Config.Data[at:])), nil
	}); err != nil {
		return ocispec.Descriptor{}, err
	}
	for _, name := range a.Files {
		desc, err := r.pushFile(ctx, name, a.Type)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		m.Layers = append(m.Layers, desc)
	}
	if len(m.Layers) == 0 { // the specification wants one
		m.Layers = append(m.Layers, ocispec.DescriptorEmptyJSON)
	}
	doc, err := encode(m.MediaType, m)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if tag == "" {
		tag = doc.digest.String()
	}
	desc := doc.descriptor()
	desc.ArtifactType = a.Type
	return desc, r.putManifest(ctx, tag, doc)
}

func (r *Repository) pushFile(ctx context.Context, name, mediaType string) (ocispec.Descriptor, error) {
	f, err := os.Open(name)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := digest.FromReader(contextReader{ctx, f})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{
		MediaType:   mediaType,
		Digest:      d,
		Size:        info.Size(),
		Annotations: map[string]string{ocispec.AnnotationTitle: filepath.Base(name)},
	}
	u := &blobUpload{repo: r, desc: desc, progress: func(Progress) {}}
	return desc, u.run(ctx, nil, fileSource(f, desc.Size))
}

// FetchArtifact writes the files of an artifact into dir, and returns their
// names. Of what has no name, the name is its digest. No file that is there
// already is overwritten.
func (r *Repository) FetchArtifact(ctx context.Context, id, dir string) (names []string, err error) {
	doc, err := r.document(ctx, id)
	if err != nil {
		return nil, err
	}
	if doc.isIndex() {
		return nil, errorf(errdefs.ErrInvalidArgument, "%s is an index: name one of its manifests by digest", id)
	}
	blobs, err := doc.blobs()
	if err != nil {
		return nil, err
	}
	// The names are a stranger's: whatever they are, they stay in dir.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for _, desc := range blobs[1:] { // the first is the config
		name := desc.Annotations[ocispec.AnnotationTitle]
		if desc.Digest == ocispec.DescriptorEmptyJSON.Digest && name == "" {
			continue
		}
		if name == "" {
			name = desc.Digest.Encoded()
		}
		if filepath.Base(name) != name || name == "." || name == ".." {
			return names, errorf(errdefs.ErrInvalidArgument, "%s: a file called %q: want a name without directories", id, name)
		}
		if err := r.fetchFile(ctx, desc, root, name); err != nil {
			return names, err
		}
		names = append(names, name)
	}
	return names, nil
}

// fetchFile writes a blob to a file, which is not there when that fails.
func (r *Repository) fetchFile(ctx context.Context, desc ocispec.Descriptor, dir *os.Root, name string) (err error) {
	body, err := r.Blob(ctx, desc)
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, dir.Remove(name))
		}
	}()
	sum := desc.Digest.Algorithm().Hash()
	n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(body, desc.Size+1))
	if err != nil {
		return fmt.Errorf("blob %s: %w", desc.Digest, err)
	}
	if got := digest.NewDigest(desc.Digest.Algorithm(), sum); got != desc.Digest {
		return errorf(errdefs.ErrDataLoss, "blob does not match its digest: want %s, got %s (%d bytes)", desc.Digest, got, n)
	}
	return nil
}

// encode makes a document of v.
func encode(mediaType string, v any) (document, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return document{}, err
	}
	return document{mediaType, digest.FromBytes(raw), raw}, nil
}
