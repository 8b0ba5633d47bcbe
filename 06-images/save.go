//go:build linux

package images

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// dockerEntry is one image in the manifest.json of Docker's archive. The paths
// are those of files in the archive.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// annotationName is where containerd and Docker keep an image's whole name in
// an index.
const annotationName = "io.containerd.image.name"

// Save writes images as one tar that is both an OCI image layout (image
// specification, image-layout.md) and what `docker save` writes: the same
// blobs, named by two tables of contents. An image that is named by an ID has
// no name in it.
func (s *Store) Save(ctx context.Context, w io.Writer, names ...string) error {
	archive := tar.NewWriter(w)
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	var entries []dockerEntry
	written := make(map[digest.Digest]bool)
	for _, name := range names {
		img, err := s.Get(name)
		if err != nil {
			return err
		}
		release := s.Hold(img)
		desc, entry, err := s.saveImage(ctx, archive, img, written)
		release()
		if err != nil {
			return fmt.Errorf("save %s: %w", name, err)
		}
		if ref, err := ParseReference(name); err == nil && slices.Contains(img.Tags, ref.String()) {
			entry.RepoTags = []string{Familiar(ref)}
			desc.Annotations = map[string]string{annotationName: ref.String(), ocispec.AnnotationRefName: identifier(ref)}
		}
		index.Manifests = append(index.Manifests, desc)
		if i := slices.IndexFunc(entries, func(e dockerEntry) bool { return e.Config == entry.Config }); i >= 0 {
			entries[i].RepoTags = append(entries[i].RepoTags, entry.RepoTags...)
		} else {
			entries = append(entries, entry)
		}
	}
	for _, file := range []struct {
		name    string
		content any
	}{
		{ocispec.ImageIndexFile, index},
		{"manifest.json", entries},
		{ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}},
	} {
		raw, err := json.Marshal(file.content)
		if err != nil {
			return err
		}
		if err := archive.WriteHeader(&tar.Header{Name: file.name, Mode: 0o644, Size: int64(len(raw))}); err != nil {
			return err
		}
		if _, err := archive.Write(raw); err != nil {
			return err
		}
	}
	return archive.Close()
}

// saveImage writes the blobs of an image that are not written yet, and returns
// its entries in both tables.
func (s *Store) saveImage(ctx context.Context, archive *tar.Writer, img Image, written map[digest.Digest]bool) (ocispec.Descriptor, dockerEntry, error) {
	raw, err := s.content.Bytes(img.Manifest)
	if err != nil {
		return ocispec.Descriptor{}, dockerEntry{}, err
	}
	doc, err := newDocument(raw, "")
	if err != nil {
		return ocispec.Descriptor{}, dockerEntry{}, err
	}
	m, err := doc.manifest()
	if err != nil {
		return ocispec.Descriptor{}, dockerEntry{}, err
	}
	desc := ocispec.Descriptor{MediaType: doc.mediaType, Digest: doc.digest, Size: int64(len(raw)), Platform: &img.Config.Platform}
	entry := dockerEntry{Config: blobPath(m.Config.Digest)}
	all := []digest.Digest{doc.digest, m.Config.Digest}
	for _, l := range m.Layers {
		entry.Layers = append(entry.Layers, blobPath(l.Digest))
		all = append(all, l.Digest)
	}
	for _, d := range all {
		if written[d] {
			continue
		}
		written[d] = true
		if err := s.saveBlob(ctx, archive, d); err != nil {
			return desc, entry, err
		}
	}
	return desc, entry, nil
}

// blobPath returns the path of a blob in an OCI image layout.
func blobPath(d digest.Digest) string {
	return "blobs/" + d.Algorithm().String() + "/" + d.Encoded()
}

func (s *Store) saveBlob(ctx context.Context, archive *tar.Writer, d digest.Digest) error {
	f, err := s.content.Open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Name: blobPath(d), Mode: 0o644, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(archive, contextReader{ctx, f})
	return err
}
