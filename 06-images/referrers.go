//go:build linux

package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxReferrers limits how many answers of a registry are read for one list.
const maxReferrers = 100

// Referrers lists the manifests whose subject is d: signatures, lists of
// contents, whatever was attached to an image later (end-12a). artifactType
// chooses; "" is all. A registry older than that part of the specification is
// asked for the tag that stands in for it.
func (r *Repository) Referrers(ctx context.Context, d digest.Digest, artifactType string) ([]ocispec.Descriptor, error) {
	if err := checkDigest(d); err != nil {
		return nil, err
	}
	at := r.path("referrers", d.String())
	if artifactType != "" {
		at.RawQuery = url.Values{"artifactType": {artifactType}}.Encode()
	}
	var all []ocispec.Descriptor
	for n := 0; at != nil; n++ {
		if n == maxReferrers {
			return nil, errorf(errdefs.ErrInvalidArgument, "referrers of %s: more than %d answers", d, n)
		}
		resp, err := r.do(ctx, call{
			method: http.MethodGet,
			url:    at,
			header: http.Header{"Accept": {ocispec.MediaTypeImageIndex}},
			accept: []int{http.StatusOK},
		})
		if errdefs.IsNotFound(err) && n == 0 {
			index, err := r.referrersTag(ctx, d)
			if err != nil {
				return nil, err
			}
			all = index.Manifests
			break
		} else if err != nil {
			return nil, fmt.Errorf("referrers of %s: %w", d, err)
		}
		raw, err := readDocument(resp.Body, "referrers of "+d.String())
		resp.Body.Close()
		if err != nil {
			return nil, err
		}
		list, err := newDocument(raw, ocispec.MediaTypeImageIndex)
		if err != nil {
			return nil, fmt.Errorf("referrers of %s: %w", d, err)
		}
		manifests, err := list.index()
		if err != nil {
			return nil, err
		}
		all = append(all, manifests...)
		at = r.next(resp)
	}
	// A registry need not choose for us.
	return slices.DeleteFunc(all, func(m ocispec.Descriptor) bool { return artifactType != "" && m.ArtifactType != artifactType }), nil
}

// next returns where a list goes on that came in part (RFC 8288), nil at its end.
func (r *Repository) next(resp *http.Response) *url.URL {
	target, params, ok := strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
	if !ok || !strings.Contains(params, `rel="next"`) {
		return nil
	}
	at, err := resp.Request.URL.Parse(target)
	if err != nil || !r.isHere(at) {
		return nil
	}
	return at
}

// referrersTag reads the list of referrers that a client keeps under a tag where the
// registry keeps none (section "Referrers Tag Schema").
func (r *Repository) referrersTag(ctx context.Context, d digest.Digest) (ocispec.Index, error) {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	doc, err := r.document(ctx, referrersTag(d))
	if errdefs.IsNotFound(err) {
		return index, nil
	} else if err != nil {
		return index, fmt.Errorf("referrers of %s: %w", d, err)
	}
	if index.Manifests, err = doc.index(); err != nil {
		return index, fmt.Errorf("referrers of %s: %w", d, err)
	}
	return index, nil
}

func referrersTag(d digest.Digest) string {
	return fmt.Sprintf("%.32s-%.64s", d.Algorithm(), d.Encoded())
}

// addReferrer puts a manifest that has a subject into the list under the
// subject's tag. Two clients that do so at once may lose one of the two, which
// is why registries took this over.
func (r *Repository) addReferrer(ctx context.Context, doc document) error {
	var m struct {
		Subject      *ocispec.Descriptor `json:"subject"`
		Config       *ocispec.Descriptor `json:"config"`
		ArtifactType string              `json:"artifactType"`
		Annotations  map[string]string   `json:"annotations"`
	}
	if err := json.Unmarshal(doc.raw, &m); err != nil || m.Subject == nil || checkDigest(m.Subject.Digest) != nil {
		return err
	}
	if m.ArtifactType == "" && m.Config != nil {
		m.ArtifactType = m.Config.MediaType
	}
	index, err := r.referrersTag(ctx, m.Subject.Digest)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(index.Manifests, func(known ocispec.Descriptor) bool { return known.Digest == doc.digest }) {
		return nil
	}
	desc := doc.descriptor()
	desc.ArtifactType, desc.Annotations = m.ArtifactType, m.Annotations
	index.Manifests = append(index.Manifests, desc)
	list, err := encode(index.MediaType, index)
	if err != nil {
		return err
	}
	return r.putManifest(ctx, referrersTag(m.Subject.Digest), list)
}

// Delete takes a manifest away from the repository, by its digest with all of
// its tags, or a tag alone (end-9). Blobs that are no longer needed go when the
// registry collects them.
func (r *Repository) Delete(ctx context.Context, id string) error {
	resp, err := r.do(ctx, call{method: http.MethodDelete, url: r.path("manifests", id), accept: []int{http.StatusAccepted, http.StatusOK, http.StatusNoContent}})
	if status, ok := errors.AsType[*StatusError](err); ok {
		switch status.StatusCode {
		case http.StatusMethodNotAllowed, http.StatusBadRequest:
			return fmt.Errorf("delete %s: the registry does not allow it (perhaps by digest, perhaps not at all): %w", id, err)
		}
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", id, err)
	}
	resp.Body.Close()
	return nil
}
