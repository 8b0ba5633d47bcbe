//go:build solution

// Package whichmanifest is an exercise of chapter 6.
package whichmanifest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Manifest returns the raw manifest of repository:tag for linux and an
// architecture. registry is a URL, http://127.0.0.1:5000. It fails where the
// registry has none, and where what it sends is not what its index announces.
func Manifest(ctx context.Context, registry, repository, tag, architecture string) ([]byte, error) {
	base := registry + "/v2/" + repository + "/manifests/"
	raw, contentType, err := get(ctx, base+tag)
	if err != nil || contentType != ocispec.MediaTypeImageIndex {
		return raw, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, err
	}
	for _, m := range index.Manifests {
		if m.Platform == nil || m.Platform.OS != "linux" || m.Platform.Architecture != architecture {
			continue
		}
		raw, _, err := get(ctx, base+m.Digest.String())
		if err != nil {
			return nil, err
		}
		if got := m.Digest.Algorithm().FromBytes(raw); got != m.Digest {
			return nil, fmt.Errorf("the index announces %s, the registry sends %s", m.Digest, got)
		}
		return raw, nil
	}
	return nil, fmt.Errorf("%s:%s has no manifest for linux/%s", repository, tag, architecture)
}

// get returns what is at url, at most 4 MiB of it, and its media type.
func get(ctx context.Context, url string) ([]byte, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, "", err
	}
	req.Header.Add("Accept", ocispec.MediaTypeImageIndex)
	req.Header.Add("Accept", ocispec.MediaTypeImageManifest)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	return raw, resp.Header.Get("Content-Type"), err
}
