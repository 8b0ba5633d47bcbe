//go:build linux

package registry

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"
)

// Category 4, content management.
func TestDelete(t *testing.T) {
	s := newScene(t, Options{})
	m := s.image("a", "layer")
	desc, _ := s.put("a", "v1", m.MediaType, m)
	s.put("a", "v2", m.MediaType, m)
	s.put("a", "v3", m.MediaType, m)
	id := desc.Digest.String()

	s.do("DELETE", "/v2/a/manifests/v1", nil).want(202)
	s.do("DELETE", "/v2/a/manifests/v1", nil).refused(404, "MANIFEST_UNKNOWN")
	s.do("GET", "/v2/a/manifests/v1", nil).want(404)
	s.do("GET", "/v2/a/manifests/v2", nil).want(200)

	s.do("DELETE", "/v2/a/manifests/"+id, nil).want(202)
	s.do("DELETE", "/v2/a/manifests/"+id, nil).refused(404, "MANIFEST_UNKNOWN")
	for _, gone := range []string{id, "v2", "v3"} {
		s.do("GET", "/v2/a/manifests/"+gone, nil).refused(404, "MANIFEST_UNKNOWN")
	}
	if a := s.do("GET", "/v2/a/tags/list", nil).want(200); string(a.body) != `{"name":"a","tags":[]}` {
		t.Errorf("tags of a deleted manifest: %s", a.body)
	}
	wantGone(t, s.blobFile(desc.Digest))

	layer := m.Layers[0].Digest
	s.do("POST", "/v2/b/blobs/uploads/?mount="+layer.String()+"&from=a", nil).want(201)
	s.do("DELETE", "/v2/a/blobs/"+layer.String(), nil).want(202)
	s.do("DELETE", "/v2/a/blobs/"+layer.String(), nil).refused(404, "BLOB_UNKNOWN")
	s.do("GET", "/v2/a/blobs/"+layer.String(), nil).refused(404, "BLOB_UNKNOWN")
	s.do("GET", "/v2/b/blobs/"+layer.String(), nil).want(200)
	s.do("DELETE", "/v2/b/blobs/"+layer.String(), nil).want(202)
	wantGone(t, s.blobFile(layer))
	s.do("DELETE", "/v2/a/blobs/x", nil).refused(400, "DIGEST_INVALID")
}

func wantGone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there (%v)", path, err)
	}
}

func TestCollect(t *testing.T) {
	s := newScene(t, Options{})
	m := s.image("a", "needed")
	desc, _ := s.put("a", "v1", m.MediaType, m)
	untagged := s.image("a", "needed as well")
	s.put("a", "", untagged.MediaType, untagged)
	orphan := s.blob("a", "nobody names this")
	s.blob("b", "needed") // in a repository that has no use for it
	upload := s.upload("a")
	s.do("PATCH", upload, []byte("half")).want(202)

	if freed, err := s.reg.Collect(t.Context(), time.Hour); freed != 0 || err != nil {
		t.Errorf("Collect freed %d bytes of what is young, %v", freed, err)
	}
	s.do("PATCH", upload, []byte("more")).want(202)

	freed, err := s.reg.Collect(t.Context(), -time.Hour)
	if want := int64(len("nobody names this")); freed != want || err != nil {
		t.Errorf("Collect freed %d bytes, %v; want %d", freed, err, want)
	}
	wantGone(t, s.blobFile(orphan.Digest))
	s.do("GET", "/v2/a/blobs/"+orphan.Digest.String(), nil).want(404)
	s.do("GET", "/v2/b/blobs/"+m.Layers[0].Digest.String(), nil).want(404)
	s.do("GET", upload, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
	s.do("GET", "/v2/a/manifests/"+desc.Digest.String(), nil).want(200)
	for _, l := range append(m.Layers, untagged.Layers...) {
		s.do("GET", "/v2/a/blobs/"+l.Digest.String(), nil).want(200)
	}
}
