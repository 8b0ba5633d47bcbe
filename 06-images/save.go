//go:build linux

package images

import (
	"archive/tar"
	"bytes"
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

// put takes one file of an archive or a layout, of size bytes.
type put func(name string, size int64, content io.Reader) error

// putJSON puts a document.
func putJSON(put put, name string, document any) error {
	raw, err := json.Marshal(document)
	if err != nil {
		return err
	}
	return put(name, int64(len(raw)), bytes.NewReader(raw))
}

// Save writes images as one tar that is both an OCI image layout (image
// specification, image-layout.md) and what `docker save` writes: the same
// blobs, named by two tables of contents. An image that is named by an ID has
// no name in it.
func (s *Store) Save(ctx context.Context, w io.Writer, names ...string) error {
	archive := tar.NewWriter(w)
	put := func(name string, size int64, content io.Reader) error {
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size}); err != nil {
			return err
		}
		_, err := io.Copy(archive, content)
		return err
	}
	images, entries, err := s.saveImages(ctx, put, names)
	if err != nil {
		return err
	}
	if err := putJSON(put, ocispec.ImageIndexFile, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: images,
	}); err != nil {
		return err
	}
	if err := putJSON(put, "manifest.json", entries); err != nil {
		return err
	}
	if err := putJSON(put, ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}); err != nil {
		return err
	}
	return archive.Close()
}

// saveImages puts the blobs of all images, each once, and returns what the
// tables of contents say of them: OCI's, and Docker's.
func (s *Store) saveImages(ctx context.Context, put put, names []string) (images []ocispec.Descriptor, entries []dockerEntry, err error) {
	written := make(map[digest.Digest]bool)
	for _, name := range names {
		img, err := s.Get(name)
		if err != nil {
			return nil, nil, err
		}
		release := s.Hold(img)
		desc, entry, err := s.saveImage(ctx, put, img, written)
		release()
		if err != nil {
			return nil, nil, fmt.Errorf("save %s: %w", name, err)
		}
		if ref, err := ParseReference(name); err == nil && slices.Contains(img.Tags, ref.String()) {
			entry.RepoTags = []string{Familiar(ref)}
			desc.Annotations = map[string]string{annotationName: ref.String(), ocispec.AnnotationRefName: identifier(ref)}
		}
		images = append(images, desc)
		if i := slices.IndexFunc(entries, func(e dockerEntry) bool { return e.Config == entry.Config }); i >= 0 {
			entries[i].RepoTags = append(entries[i].RepoTags, entry.RepoTags...)
		} else {
			entries = append(entries, entry)
		}
	}
	return images, entries, nil
}

// saveImage puts the blobs of an image that are not written yet, and returns
// its entries in both tables.
func (s *Store) saveImage(ctx context.Context, put put, img Image, written map[digest.Digest]bool) (ocispec.Descriptor, dockerEntry, error) {
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
		if err := s.saveBlob(ctx, put, d); err != nil {
			return desc, entry, err
		}
	}
	return desc, entry, nil
}

// blobPath returns the path of a blob in an OCI image layout.
func blobPath(d digest.Digest) string {
	return "blobs/" + d.Algorithm().String() + "/" + d.Encoded()
}

func (s *Store) saveBlob(ctx context.Context, put put, d digest.Digest) error {
	f, err := s.content.Open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return put(blobPath(d), info.Size(), contextReader{ctx, f})
}
