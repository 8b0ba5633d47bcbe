//go:build !solution

// Package whichmanifest is an exercise of chapter 6.
package whichmanifest

import (
	"context"
	"io"
	"net/http"
)

// Manifest returns the raw manifest of repository:tag for linux and an
// architecture. registry is a URL, http://127.0.0.1:5000. It fails where the
// registry has none, and where what it sends is not what its index announces.
func Manifest(ctx context.Context, registry, repository, tag, architecture string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, registry+"/v2/"+repository+"/manifests/"+tag, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}
