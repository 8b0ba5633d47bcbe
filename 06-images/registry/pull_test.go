//go:build linux

package registry

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const nowhere = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

func TestBase(t *testing.T) {
	s := newScene(t, Options{})
	s.do("GET", "/v2/", nil).want(200, "Docker-Distribution-API-Version", "registry/2.0")
	s.do("HEAD", "/v2/", nil).want(200)
	s.do("POST", "/v2/", nil).refused(405, "UNSUPPORTED")
	s.do("GET", "/v2/a/b/c", nil).refused(404, "UNSUPPORTED")
	s.do("GET", "/v2/UPPER/tags/list", nil).refused(400, "NAME_INVALID")
	s.do("GET", "/v2/a/../b/tags/list", nil).refused(400, "NAME_INVALID")
	s.do("GET", "/v2/_x/tags/list", nil).refused(400, "NAME_INVALID")
	s.do("PATCH", "/v2/a/manifests/1", nil).want(405, "Allow", "DELETE, GET, HEAD, PUT").refused(405, "UNSUPPORTED")
}

// Category 1, pull: blobs.
func TestPullBlob(t *testing.T) {
	s := newScene(t, Options{})
	l := s.blob("a/b", "0123456789")
	path := "/v2/a/b/blobs/" + l.Digest.String()
	got := s.do("GET", path, nil).want(200, "Docker-Content-Digest", l.Digest.String(), "Content-Length", "10", "Content-Type", "application/octet-stream")
	if string(got.body) != "0123456789" {
		t.Errorf("the blob is %q", got.body)
	}
	s.do("HEAD", path, nil).want(200, "Docker-Content-Digest", l.Digest.String(), "Content-Length", "10")

	for _, tt := range []struct {
		header string
		status int
		body   string
		sent   string
	}{
		{"bytes=2-4", 206, "234", "bytes 2-4/10"},
		{"bytes=7-", 206, "789", "bytes 7-9/10"},
		{"bytes=-3", 206, "789", "bytes 7-9/10"},
		{"bytes=8-99", 206, "89", "bytes 8-9/10"},
	} {
		a := s.do("GET", path, nil, "Range", tt.header).want(tt.status, "Content-Range", tt.sent)
		if string(a.body) != tt.body {
			t.Errorf("Range %s: %q, want %q", tt.header, a.body, tt.body)
		}
	}
	s.do("GET", path, nil, "Range", "bytes=10-").want(416, "Content-Range", "bytes */10")
	s.do("GET", path, nil, "If-None-Match", `"`+l.Digest.String()+`"`).want(304)

	s.do("GET", "/v2/a/b/blobs/"+nowhere, nil).refused(404, "BLOB_UNKNOWN")
	s.do("HEAD", "/v2/a/b/blobs/"+nowhere, nil).want(404)
	s.do("GET", "/v2/other/blobs/"+l.Digest.String(), nil).refused(404, "BLOB_UNKNOWN")
	s.do("GET", "/v2/a/b/blobs/sha256:short", nil).refused(400, "DIGEST_INVALID")
	s.do("GET", "/v2/a/b/blobs/sha256:..%2f..%2flock", nil).want(404)
	s.do("GET", "/v2/a/b/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", nil).refused(400, "DIGEST_INVALID")
}

// Category 1, pull: manifests.
func TestPullManifest(t *testing.T) {
	s := newScene(t, Options{})
	m := s.image("a", "layer")
	desc, _ := s.put("a", "v1", m.MediaType, m)
	raw, _ := json.Marshal(m)
	for _, id := range []string{"v1", desc.Digest.String()} {
		a := s.do("GET", "/v2/a/manifests/"+id, nil).want(200, "Docker-Content-Digest", desc.Digest.String(), "Content-Type", m.MediaType)
		if string(a.body) != string(raw) {
			t.Errorf("the manifest %s is not the bytes that were pushed", id)
		}
		s.do("HEAD", "/v2/a/manifests/"+id, nil).want(200, "Docker-Content-Digest", desc.Digest.String(), "Content-Length", fmt.Sprint(len(raw)))
	}
	for _, id := range []string{"v2", nowhere, m.Config.Digest.String(), ".."} {
		s.do("GET", "/v2/a/manifests/"+id, nil).want(404)
	}
	s.do("GET", "/v2/a/manifests/v2", nil).refused(404, "MANIFEST_UNKNOWN")
	s.do("HEAD", "/v2/a/manifests/v2", nil).want(404)
	s.do("GET", "/v2/other/manifests/v1", nil).refused(404, "MANIFEST_UNKNOWN")
	s.do("GET", "/v2/a/manifests/sha256:totallywrong", nil).refused(400, "DIGEST_INVALID")
}

func TestPullSHA512(t *testing.T) {
	s := newScene(t, Options{})
	d := digest.SHA512.FromString("layer")
	s.do("POST", "/v2/a/blobs/uploads/?digest="+d.String(), []byte("layer")).want(201, "Docker-Content-Digest", d.String())
	s.do("GET", "/v2/a/blobs/"+d.String(), nil).want(200)
	m := s.image("a")
	m.Layers = []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: d, Size: 5}}
	raw, _ := json.Marshal(m)
	md := digest.SHA512.FromBytes(raw).String()
	s.do("PUT", "/v2/a/manifests/"+md, raw, "Content-Type", m.MediaType).want(201, "Docker-Content-Digest", md)
	s.do("GET", "/v2/a/manifests/"+md, nil).want(200, "Docker-Content-Digest", md)
	s.do("POST", "/v2/a/blobs/uploads/?digest="+d.String(), []byte("LAYER")).refused(400, "DIGEST_INVALID")
}
