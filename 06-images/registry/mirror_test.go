//go:build linux

package registry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	images "drydock.example/06-images"
)

// mirrored is a registry and a mirror of it, with a door between them.
type mirrored struct {
	up   *scene
	host string // of the mirror
	door *httptest.Server

	mu    sync.Mutex
	asked map[string]int // method and path → how often upstream was asked
	fault func(w http.ResponseWriter, r *http.Request) bool
}

func newMirrored(t *testing.T) (*mirrored, *scene) {
	t.Helper()
	m := &mirrored{up: newScene(t, Options{}), asked: make(map[string]int)}
	m.door = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		m.asked[r.Method+" "+r.URL.Path]++
		fault := m.fault
		m.mu.Unlock()
		if fault == nil || !fault(w, r) {
			m.up.reg.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(m.door.Close)
	s := newScene(t, Options{})
	mirror := NewMirror(s.reg, Upstream{Host: strings.TrimPrefix(m.door.URL, "http://")})
	server := httptest.NewServer(mirror)
	t.Cleanup(func() {
		server.Close()
		mirror.Close()
	})
	s.url = server.URL
	m.host = s.host()
	return m, s
}

func TestMirrorFetchesOnceAndOutlivesUpstream(t *testing.T) {
	m, s := newMirrored(t)
	from := openStore(t)
	img := createImage(t, from, m.up.host()+"/demo:1", 1_000_000)
	if _, err := from.Push(t.Context(), m.up.host()+"/demo:1", images.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	var class sync.WaitGroup
	for range 30 {
		student := openStore(t)
		class.Go(func() {
			if got, err := student.Pull(t.Context(), m.host+"/demo:1", images.PullOptions{}); err != nil || got.ID != img.ID {
				t.Errorf("pulled %s, %v; want %s", got.ID, err, img.ID)
			}
		})
	}
	class.Wait()
	m.mu.Lock()
	blobs := 0
	for what, n := range m.asked {
		switch {
		case strings.HasPrefix(what, "GET ") && strings.Contains(what, "/blobs/"):
			blobs++
			fallthrough
		case strings.HasPrefix(what, "GET ") && strings.Contains(what, "/manifests/"):
			if n != 1 {
				t.Errorf("%s: upstream was asked %d times, want once", what, n)
			}
		case strings.HasPrefix(what, "HEAD ") && n > 30:
			t.Errorf("%s: upstream was asked %d times by 30 students", what, n)
		}
	}
	if blobs != 2 {
		t.Errorf("%d blobs were fetched, want the config and the layer: %v", blobs, m.asked)
	}
	m.mu.Unlock()

	m.door.Close()
	if got, err := openStore(t).Pull(t.Context(), m.host+"/demo:1", images.PullOptions{}); err != nil || got.ID != img.ID {
		t.Errorf("with upstream gone: pulled %s, %v; want %s", got.ID, err, img.ID)
	}
	s.do("GET", "/v2/demo/manifests/2", nil).refused(502, "UNKNOWN")
	s.do("PUT", "/v2/demo/manifests/2", []byte("{}")).refused(405, "UNSUPPORTED")
	s.do("GET", "/v2/demo/tags/list", nil).want(200)
}

func TestMirrorFollowsTags(t *testing.T) {
	m, s := newMirrored(t)
	one, two := m.up.image("a", "one"), m.up.image("a", "two")
	first, _ := m.up.put("a", "v1", one.MediaType, one)
	s.do("GET", "/v2/a/manifests/v1", nil).want(200, "Docker-Content-Digest", first.Digest.String())
	second, _ := m.up.put("a", "v1", two.MediaType, two)
	s.do("HEAD", "/v2/a/manifests/v1", nil).want(200, "Docker-Content-Digest", second.Digest.String())
	s.do("GET", "/v2/a/manifests/"+first.Digest.String(), nil).want(200)
	m.mu.Lock()
	if n := m.asked["GET /v2/a/manifests/v1"]; n != 2 {
		t.Errorf("the tag was fetched %d times, want twice: a tag that stays costs only HEAD", n)
	}
	m.mu.Unlock()
	s.do("GET", "/v2/a/manifests/none", nil).refused(404, "MANIFEST_UNKNOWN")
	s.do("GET", "/v2/a/blobs/"+nowhere, nil).refused(404, "BLOB_UNKNOWN")

	layer := two.Layers[0].Digest.String()
	s.do("HEAD", "/v2/a/blobs/"+layer, nil).want(200, "Content-Length", "3")
	if a := s.do("GET", "/v2/a/blobs/"+layer, nil, "Range", "bytes=1-").want(206); string(a.body) != "wo" {
		t.Errorf("a part of a blob that was not here: %q", a.body)
	}
}

// What upstream gets wrong is neither passed on whole nor kept.
func TestMirrorKeepsNoWrongBytes(t *testing.T) {
	m, s := newMirrored(t)
	l := m.up.blob("a", "the right bytes")
	m.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != "GET" || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		w.Write([]byte("the wrong bytes"))
		return true
	}
	// Whether the answer has begun when the digest turns out wrong is luck: it
	// breaks off, or it is a refusal from the start.
	resp, err := http.Get(s.url + "/v2/a/blobs/" + l.Digest.String())
	if err == nil {
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode != http.StatusBadGateway {
			t.Errorf("the wrong blob came to its end: %s %q", resp.Status, body)
		}
	}
	wantGone(t, s.blobFile(l.Digest))
	entries, err := os.ReadDir(s.dir + "/tmp")
	if err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	m.mu.Lock()
	m.fault = nil
	m.mu.Unlock()
	if a := s.do("GET", "/v2/a/blobs/"+l.Digest.String(), nil).want(200); string(a.body) != "the right bytes" {
		t.Errorf("then the right bytes: %q", a.body)
	}
}
