//go:build linux

package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxManifest is what the specification asks registries to take at least
// (section "Pushing Manifests").
const maxManifest = 4 << 20

// manifest is what a registry must know of any manifest: what it refers to.
type manifest struct {
	SchemaVersion int                  `json:"schemaVersion"`
	MediaType     string               `json:"mediaType"`
	ArtifactType  string               `json:"artifactType"`
	Config        *ocispec.Descriptor  `json:"config"`
	Layers        []ocispec.Descriptor `json:"layers"`
	Manifests     []ocispec.Descriptor `json:"manifests"`
	Subject       *ocispec.Descriptor  `json:"subject"`
	Annotations   map[string]string    `json:"annotations"`
}

func invalidManifest(format string, args ...any) error {
	return &Error{http.StatusBadRequest, "MANIFEST_INVALID", fmt.Sprintf(format, args...), nil}
}

// parseManifest reads a manifest of the media type that the client states, and
// refuses one that two programs could read in two ways (CVE-2021-41190).
func parseManifest(raw []byte, contentType string) (manifest, error) {
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, invalidManifest("not JSON of a manifest: %v", err)
	}
	if contentType != "" {
		stated, _, err := mime.ParseMediaType(contentType)
		if err != nil {
			return m, invalidManifest("Content-Type %q: %v", contentType, err)
		}
		if m.MediaType != "" && m.MediaType != stated {
			return m, invalidManifest("the request says %s, the manifest says %s", stated, m.MediaType)
		}
		m.MediaType = stated
	}
	isIndex := strings.HasSuffix(m.MediaType, ".image.index.v1+json") || strings.HasSuffix(m.MediaType, ".manifest.list.v2+json")
	isImage := strings.HasSuffix(m.MediaType, ".image.manifest.v1+json") || strings.HasSuffix(m.MediaType, ".distribution.manifest.v2+json")
	hasImage := m.Config != nil || m.Layers != nil
	switch {
	case m.MediaType == "":
		return m, invalidManifest("neither the request nor the manifest says what type it is of")
	case m.SchemaVersion != 2:
		return m, invalidManifest("schema version %d", m.SchemaVersion)
	case hasImage && m.Manifests != nil:
		return m, invalidManifest("it has both the fields of an image and those of an index")
	case isIndex && hasImage, isImage && (m.Manifests != nil || m.Config == nil):
		return m, invalidManifest("it does not have the fields of its type %s", m.MediaType)
	}
	for _, desc := range m.references() {
		if _, err := parseDigest(desc.Digest.String()); err != nil {
			return m, err
		}
		if desc.Size < 0 {
			return m, invalidManifest("%s has size %d", desc.Digest, desc.Size)
		}
	}
	return m, nil
}

// references returns all descriptors of the manifest.
func (m manifest) references() []ocispec.Descriptor {
	all := slices.Concat(m.Layers, m.Manifests)
	for _, desc := range []*ocispec.Descriptor{m.Config, m.Subject} {
		if desc != nil {
			all = append(all, *desc)
		}
	}
	return all
}

// blobs returns the descriptors of what must be here: not of layers that are
// fetched from elsewhere.
func (m manifest) blobs() []ocispec.Descriptor {
	all := slices.DeleteFunc(slices.Clone(m.Layers), func(l ocispec.Descriptor) bool { return len(l.URLs) > 0 })
	if m.Config != nil {
		all = append(all, *m.Config)
	}
	return all
}

// referrer returns how the list of its subject's referrers shows the manifest
// (section "Listing Referrers").
func (m manifest) referrer(d digest.Digest, size int) ocispec.Descriptor {
	desc := ocispec.Descriptor{MediaType: m.MediaType, Digest: d, Size: int64(size), ArtifactType: m.ArtifactType, Annotations: m.Annotations}
	if desc.ArtifactType == "" && m.Config != nil {
		desc.ArtifactType = m.Config.MediaType
	}
	return desc
}

// referrerLink returns the file that lists manifest d below its subject.
func (r repository) referrerLink(subject, d digest.Digest) string {
	return filepath.Join(r.referrersOf(subject), d.String())
}

// getManifest sends a manifest, as the very bytes that were pushed (end-3).
func (reg *Registry) getManifest(w http.ResponseWriter, r request) error {
	d, err := r.repository.resolve(r.object)
	if err != nil {
		return err
	}
	mediaType, err := r.repository.mediaType(d)
	if err != nil {
		return err
	}
	raw, err := reg.content.Bytes(d)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Docker-Content-Digest", d.String())
	h.Set("ETag", `"`+d.String()+`"`)
	http.ServeContent(w, r.Request, "", time.Time{}, bytes.NewReader(raw))
	return nil
}

// putManifest takes a manifest whose blobs are here, and moves the tag, if it
// came by one (end-7).
func (reg *Registry) putManifest(w http.ResponseWriter, r request) error {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxManifest+1))
	if err != nil {
		return err
	}
	if len(raw) > maxManifest {
		return &Error{http.StatusRequestEntityTooLarge, "SIZE_INVALID", fmt.Sprintf("a manifest may have %d bytes", maxManifest), nil}
	}
	tag, d := r.object, digest.FromBytes(raw)
	if strings.Contains(r.object, ":") {
		want, err := parseDigest(r.object)
		if err != nil {
			return err
		}
		if got := want.Algorithm().FromBytes(raw); got != want {
			return &Error{http.StatusBadRequest, "DIGEST_INVALID", "provided digest did not match uploaded content",
				map[string]digest.Digest{"provided": want, "computed": got}}
		}
		tag, d = "", want
	} else if !tagPattern.MatchString(tag) {
		return invalidManifest("%q cannot be a tag", tag)
	}
	m, err := parseManifest(raw, r.Header.Get("Content-Type"))
	if err != nil {
		return err
	}

	reg.refs.RLock()
	defer reg.refs.RUnlock()
	if err := reg.checkReferences(r.repository, m); err != nil {
		return err
	}
	if err := reg.addManifest(r.Context(), r.repository, m, d, raw); err != nil {
		return err
	}
	if tag != "" {
		chapter.Call(r.Context(), "the tag moves, by one rename", "rename(%q, %q)", "tmp/…", r.repository.tagLink(tag))
		if err := reg.writeFile(r.repository.tagLink(tag), []byte(d)); err != nil {
			return err
		}
	}
	if m.Subject != nil {
		w.Header().Set("OCI-Subject", m.Subject.Digest.String())
	}
	created(w, "/v2/"+r.repository.name+"/manifests/"+d.String(), d)
	return nil
}

// checkReferences fails where the repository lacks a blob or a manifest that m
// names, or has it with another size. A subject may come later.
func (reg *Registry) checkReferences(repo repository, m manifest) error {
	for _, desc := range m.blobs() {
		f, err := reg.content.Open(desc.Digest)
		if errdefs.IsNotFound(err) || err == nil && !repo.hasBlob(desc.Digest) {
			if err == nil {
				f.Close()
			}
			return &Error{http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", "the manifest names a blob that the repository does not have",
				map[string]digest.Digest{"digest": desc.Digest}}
		} else if err != nil {
			return err
		}
		info, err := f.Stat()
		f.Close()
		if err != nil {
			return err
		}
		if info.Size() != desc.Size {
			return invalidManifest("it says that %s has %d bytes, it has %d", desc.Digest, desc.Size, info.Size())
		}
	}
	for _, desc := range m.Manifests {
		if _, err := repo.mediaType(desc.Digest); err != nil {
			return &Error{http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", "the index names a manifest that the repository does not have",
				map[string]digest.Digest{"digest": desc.Digest}}
		}
	}
	return nil
}

// addManifest stores a manifest and lists it below its subject. reg.refs is held.
func (reg *Registry) addManifest(ctx context.Context, repo repository, m manifest, d digest.Digest, raw []byte) error {
	if !reg.content.Has(d) {
		blob, err := reg.content.Writer(d)
		if err != nil {
			return err
		}
		defer blob.Close()
		if _, err := blob.Write(raw); err != nil {
			return err
		}
		if err := blob.Commit(); err != nil {
			return err
		}
	}
	if m.Subject != nil {
		desc, err := json.Marshal(m.referrer(d, len(raw)))
		if err != nil {
			return err
		}
		if err := reg.writeFile(repo.referrerLink(m.Subject.Digest, d), desc); err != nil {
			return err
		}
	}
	chapter.Call(ctx, "the blob is a manifest of "+repo.name+" now", "rename(%q, %q)", "tmp/…", repo.manifestLink(d))
	return reg.writeFile(repo.manifestLink(d), []byte(m.MediaType))
}

// deleteManifest takes a tag away, or a manifest with all its tags (end-9).
func (reg *Registry) deleteManifest(w http.ResponseWriter, r request) error {
	reg.refs.Lock()
	defer reg.refs.Unlock()
	repo := r.repository
	d, err := repo.resolve(r.object)
	if err != nil {
		return err
	}
	if !strings.Contains(r.object, ":") {
		err = os.Remove(repo.tagLink(r.object))
	} else {
		err = reg.removeManifest(r.Context(), repo, d)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// removeManifest removes what names a manifest, then the manifest. reg.refs is
// held for writing.
func (reg *Registry) removeManifest(ctx context.Context, repo repository, d digest.Digest) error {
	mediaType, err := repo.mediaType(d)
	if err != nil {
		return err
	}
	tags, err := repo.tags()
	if err != nil {
		return err
	}
	for _, tag := range tags {
		if of, err := repo.resolve(tag); err != nil || of != d {
			continue
		}
		if err := os.Remove(repo.tagLink(tag)); err != nil {
			return err
		}
	}
	raw, err := reg.content.Bytes(d)
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	if m, err := parseManifest(raw, mediaType); err == nil && m.Subject != nil {
		if err := os.Remove(repo.referrerLink(m.Subject.Digest, d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(repo.manifestLink(d)); err != nil {
		return err
	}
	return reg.removeUnlinked(ctx, d)
}
