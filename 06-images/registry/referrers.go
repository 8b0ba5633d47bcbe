//go:build linux

package registry

import (
	"net/http"
	"slices"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// listReferrers answers with an index of the manifests that name a digest as
// their subject, whether it is here or not; artifactType chooses among them (end-12).
func (reg *Registry) listReferrers(w http.ResponseWriter, r request) error {
	subject, err := parseDigest(r.object)
	if err != nil {
		return err
	}
	all, err := r.repository.referrers(subject)
	if err != nil {
		return err
	}
	if want := r.URL.Query().Get("artifactType"); want != "" {
		all = slices.DeleteFunc(all, func(d ocispec.Descriptor) bool { return d.ArtifactType != want })
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	return writeJSON(w, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: all,
	})
}
