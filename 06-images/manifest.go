//go:build linux

package images

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Docker's media types, schema 2, which registries serve beside those of OCI.
// The documents have the same fields.
const (
	dockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig       = "application/vnd.docker.container.image.v1+json"
	dockerLayer        = "application/vnd.docker.image.rootfs.diff.tar"
	dockerForeignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar"
	dockerSchema1      = "application/vnd.docker.distribution.manifest.v1"
)

// acceptedManifests is what we ask a registry for.
var acceptedManifests = []string{
	ocispec.MediaTypeImageIndex,
	ocispec.MediaTypeImageManifest,
	dockerManifestList,
	dockerManifest,
}

// document is a manifest or an index as it came: the digest is that of the raw
// bytes, whatever JSON they hold.
type document struct {
	mediaType string
	digest    digest.Digest
	raw       []byte
}

// newDocument reads what sort of document raw is. contentType is what the
// registry said, and may be empty. The sort must be beyond doubt: a document
// that can be read as an index by one program and as a manifest by another
// would be two images under one digest (CVE-2021-41190).
func newDocument(raw []byte, contentType string) (document, error) {
	contentType, _, _ = strings.Cut(contentType, ";")
	contentType = strings.TrimSpace(contentType)
	doc := document{mediaType: contentType, digest: digest.FromBytes(raw), raw: raw}

	var fields struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Config        json.RawMessage `json:"config"`
		Layers        json.RawMessage `json:"layers"`
		FSLayers      json.RawMessage `json:"fsLayers"`
	}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return doc, errorf(errdefs.ErrInvalidArgument, "manifest %s is not JSON of a manifest: %w", doc.digest, err)
	}
	if fields.SchemaVersion == 1 || fields.FSLayers != nil || strings.HasPrefix(contentType, dockerSchema1) {
		return doc, errorf(errdefs.ErrInvalidArgument, "manifest %s has schema version 1, which was given up in 2016: the image must be pushed again by a newer program", doc.digest)
	}
	isIndex, isManifest := fields.Manifests != nil, fields.Config != nil || fields.Layers != nil
	if isIndex == isManifest {
		return doc, errorf(errdefs.ErrInvalidArgument, "manifest %s is neither clearly a manifest nor clearly an index", doc.digest)
	}
	if !slices.Contains(acceptedManifests, contentType) {
		// Some registries say application/json or nothing.
		doc.mediaType = fields.MediaType
		if doc.mediaType == "" && isIndex {
			doc.mediaType = ocispec.MediaTypeImageIndex
		} else if doc.mediaType == "" {
			doc.mediaType = ocispec.MediaTypeImageManifest
		}
	} else if fields.MediaType != "" && fields.MediaType != contentType {
		return doc, errorf(errdefs.ErrInvalidArgument, "manifest %s: the registry says %s, the document says %s", doc.digest, contentType, fields.MediaType)
	}
	if !slices.Contains(acceptedManifests, doc.mediaType) {
		return doc, errorf(errdefs.ErrInvalidArgument, "manifest %s: unknown media type %q", doc.digest, doc.mediaType)
	}
	if isIndex != doc.isIndex() {
		return doc, errorf(errdefs.ErrInvalidArgument, "manifest %s does not have the fields of its media type %s", doc.digest, doc.mediaType)
	}
	return doc, nil
}

// isIndex says whether the document lists manifests, one per platform.
func (d document) isIndex() bool {
	return d.mediaType == ocispec.MediaTypeImageIndex || d.mediaType == dockerManifestList
}

// index returns the manifests of an index.
func (d document) index() ([]ocispec.Descriptor, error) {
	var index ocispec.Index
	if err := json.Unmarshal(d.raw, &index); err != nil {
		return nil, errorf(errdefs.ErrInvalidArgument, "index %s: %w", d.digest, err)
	}
	for _, m := range index.Manifests {
		if err := d.check(m, "manifest"); err != nil {
			return nil, err
		}
	}
	return index.Manifests, nil
}

// manifest returns config and layers of a manifest, and refuses one that is
// not an image of ordinary layers.
func (d document) manifest() (ocispec.Manifest, error) {
	var m ocispec.Manifest
	if err := json.Unmarshal(d.raw, &m); err != nil {
		return m, errorf(errdefs.ErrInvalidArgument, "manifest %s: %w", d.digest, err)
	}
	if t := m.Config.MediaType; t != ocispec.MediaTypeImageConfig && t != dockerConfig {
		return m, errorf(errdefs.ErrInvalidArgument, "manifest %s is not an image: its config is of type %q (an artifact is fetched, and not pulled)", d.digest, t)
	}
	if err := d.check(m.Config, "config"); err != nil {
		return m, err
	}
	if m.Config.Size > maxDocument {
		return m, errorf(errdefs.ErrInvalidArgument, "manifest %s: a config of %d bytes, more than %d", d.digest, m.Config.Size, maxDocument)
	}
	for _, l := range m.Layers {
		if err := d.check(l, "layer"); err != nil {
			return m, err
		}
		// How a layer is compressed is read from its first bytes, since
		// media types in the wild are wrong at times; that it is a tar is not.
		t, _, _ := strings.Cut(l.MediaType, "+")
		t = strings.TrimSuffix(t, ".gzip")
		t = strings.TrimSuffix(t, ".zstd")
		switch {
		case t == ocispec.MediaTypeImageLayer, t == dockerLayer:
		case isForeign(l):
			return m, errorf(errdefs.ErrInvalidArgument, "manifest %s: layer %s is not in the registry (%s), as in images of Windows", d.digest, l.Digest, l.MediaType)
		default:
			return m, errorf(errdefs.ErrInvalidArgument, "manifest %s: layer %s is of the unknown type %q", d.digest, l.Digest, l.MediaType)
		}
	}
	return m, nil
}

// blobs returns what a manifest names, the config first, whatever it is a manifest of.
func (d document) blobs() ([]ocispec.Descriptor, error) {
	var m ocispec.Manifest
	if err := json.Unmarshal(d.raw, &m); err != nil {
		return nil, errorf(errdefs.ErrInvalidArgument, "manifest %s: %w", d.digest, err)
	}
	all := append([]ocispec.Descriptor{m.Config}, m.Layers...)
	for _, desc := range all {
		if err := d.check(desc, "blob"); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// descriptor returns what other documents name this one by.
func (d document) descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.mediaType, Digest: d.digest, Size: int64(len(d.raw))}
}

// isForeign says whether a layer is not in registries: its licence forbids to
// give it out, as with those of Windows.
func isForeign(desc ocispec.Descriptor) bool {
	return strings.HasPrefix(desc.MediaType, dockerForeignLayer) || strings.HasPrefix(desc.MediaType, "application/vnd.oci.image.layer.nondistributable.v1.tar")
}

// check refuses a descriptor that cannot be followed.
func (d document) check(desc ocispec.Descriptor, role string) error {
	if err := checkDigest(desc.Digest); err != nil {
		return errorf(errdefs.ErrInvalidArgument, "%s of %s: %w", role, d.digest, err)
	}
	if desc.Size < 0 {
		return errorf(errdefs.ErrInvalidArgument, "%s %s of %s: size %d", role, desc.Digest, d.digest, desc.Size)
	}
	return nil
}

// parseConfig reads an image's config and holds it against the number of
// layers in its manifest.
func parseConfig(raw []byte, layers int) (ocispec.Image, error) {
	id := digest.FromBytes(raw)
	var config ocispec.Image
	if err := json.Unmarshal(raw, &config); err != nil {
		return config, errorf(errdefs.ErrInvalidArgument, "image config %s: %w", id, err)
	}
	if t := config.RootFS.Type; t != "layers" {
		return config, errorf(errdefs.ErrInvalidArgument, "image config %s: rootfs of type %q, not \"layers\"", id, t)
	}
	if n := len(config.RootFS.DiffIDs); n != layers {
		return config, errorf(errdefs.ErrInvalidArgument, "image config %s has %d diff IDs, its manifest has %d layers", id, n, layers)
	}
	for _, d := range config.RootFS.DiffIDs {
		if err := checkDigest(d); err != nil {
			return config, errorf(errdefs.ErrInvalidArgument, "image config %s: diff ID: %w", id, err)
		}
	}
	return config, nil
}
