//go:build exercise || solution

package whichmanifest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// registry serves repository demo: the tag multi is an index of three
// manifests, single a manifest, lying an index whose manifest is altered.
func registry(t *testing.T) (url string, manifests map[string]string) {
	manifests = map[string]string{
		"amd64":   `{"schemaVersion":2,"config":{},"layers":[],"annotations":{"for":"amd64"}}`,
		"arm64":   `{"schemaVersion":2,"config":{},"layers":[],"annotations":{"for":"arm64"}}`,
		"unknown": `{"schemaVersion":2,"config":{},"layers":[],"annotations":{"for":"nobody: a signature"}}`,
	}
	type answer struct{ contentType, body string }
	answers := map[string]answer{"single": {ocispec.MediaTypeImageManifest, manifests["amd64"]}}
	index := func(lie string) string {
		var ix ocispec.Index
		for _, arch := range []string{"unknown", "arm64", "amd64"} {
			os := "linux"
			if arch == "unknown" {
				os = "unknown"
			}
			d := digest.FromString(lie + manifests[arch])
			answers[d.String()] = answer{ocispec.MediaTypeImageManifest, manifests[arch]}
			ix.Manifests = append(ix.Manifests, ocispec.Descriptor{Digest: d, Platform: &ocispec.Platform{OS: os, Architecture: arch}})
		}
		raw, err := json.Marshal(ix)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	answers["multi"] = answer{ocispec.MediaTypeImageIndex, index("")}
	answers["lying"] = answer{ocispec.MediaTypeImageIndex, index(" ")}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, ok := strings.CutPrefix(r.URL.Path, "/v2/demo/manifests/")
		a, known := answers[id]
		if !ok || !known {
			http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, http.StatusNotFound)
			return
		}
		if !slices.Contains(strings.Split(strings.Join(r.Header.Values("Accept"), ","), ","), a.contentType) {
			a = answer{"application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1}`}
		}
		w.Header().Set("Content-Type", a.contentType)
		w.Write([]byte(a.body))
	}))
	t.Cleanup(server.Close)
	return server.URL, manifests
}

func TestManifest(t *testing.T) {
	url, manifests := registry(t)
	for _, tt := range []struct{ tag, architecture string }{{"multi", "amd64"}, {"multi", "arm64"}, {"single", "amd64"}} {
		raw, err := Manifest(t.Context(), url, "demo", tt.tag, tt.architecture)
		switch {
		case err != nil:
			t.Errorf("%s for %s: %v", tt.tag, tt.architecture, err)
		case string(raw) == `{"schemaVersion":1}`:
			t.Errorf("%s for %s: got a manifest of schema 1. Which media types did you say that you accept?", tt.tag, tt.architecture)
		case strings.Contains(string(raw), "manifests"):
			t.Errorf("%s for %s: got the index. Its entry for the platform has the digest to ask for next.", tt.tag, tt.architecture)
		case string(raw) != manifests[tt.architecture]:
			t.Errorf("%s for %s: got %s", tt.tag, tt.architecture, raw)
		}
	}
}

func TestManifestRefuses(t *testing.T) {
	url, _ := registry(t)
	for _, tt := range []struct{ tag, architecture, hint string }{
		{"multi", "s390x", "No entry of the index is for s390x: whose manifest is this?"},
		{"lying", "amd64", "The index announced another digest than what came has."},
		{"nosuch", "amd64", "The registry said 404."},
	} {
		if raw, err := Manifest(t.Context(), url, "demo", tt.tag, tt.architecture); err == nil {
			t.Errorf("%s for %s: got %s and no error. %s", tt.tag, tt.architecture, raw, tt.hint)
		}
	}
}
