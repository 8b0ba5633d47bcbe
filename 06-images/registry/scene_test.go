//go:build linux

package registry

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"drydock.example/01-chroot/hosttest"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestMain(m *testing.M) {
	os.Setenv("DOCKER_CONFIG", "/nonexistent")
	os.Exit(hosttest.Run(m))
}

// scene is a registry, and a client that looks at every detail.
type scene struct {
	t   testing.TB
	reg *Registry
	dir string
	url string
}

func newScene(t testing.TB, opt Options) *scene {
	t.Helper()
	s := &scene{t: t, dir: t.TempDir()}
	reg, err := Open(s.dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	s.reg = reg
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.reg.ServeHTTP(w, r) }))
	t.Cleanup(func() {
		server.Close()
		s.reg.Close()
	})
	s.url = server.URL
	return s
}

// answer is a response that was read to its end.
type answer struct {
	t      testing.TB
	what   string
	status int
	header http.Header
	body   []byte
}

// do sends a request; headers are given as name and value in turn.
func (s *scene) do(method, path string, body []byte, headers ...string) answer {
	s.t.Helper()
	if path[0] == '/' {
		path = s.url + path
	}
	req, err := http.NewRequest(method, path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{s.t, method + " " + path, resp.StatusCode, resp.Header, b}
}

// want fails unless the answer has the status and the headers.
func (a answer) want(status int, headers ...string) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Errorf("%s: status %d, want %d\n%s", a.what, a.status, status, a.body)
	}
	for i := 0; i < len(headers); i += 2 {
		if got := a.header.Get(headers[i]); got != headers[i+1] {
			a.t.Errorf("%s: %s: %q, want %q", a.what, headers[i], got, headers[i+1])
		}
	}
	return a
}

// refused fails unless the answer is an error in the specification's form.
func (a answer) refused(status int, code string) {
	a.t.Helper()
	a.want(status, "Content-Type", "application/json")
	var body struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal(a.body, &body); err != nil || len(body.Errors) != 1 || body.Errors[0].Code != code || body.Errors[0].Message == "" {
		a.t.Errorf("%s: %s, %v; want the error code %s", a.what, a.body, err, code)
	}
}

// location returns where the answer says that something is.
func (a answer) location() string {
	a.t.Helper()
	l := a.header.Get("Location")
	if l == "" {
		a.t.Fatalf("%s: no Location", a.what)
	}
	return l
}

func (s *scene) upload(repository string) string {
	s.t.Helper()
	return s.do("POST", "/v2/"+repository+"/blobs/uploads/", nil).want(202).location()
}

func (s *scene) blob(repository, content string) ocispec.Descriptor {
	s.t.Helper()
	d := digest.FromString(content)
	s.do("POST", "/v2/"+repository+"/blobs/uploads/?digest="+d.String(), []byte(content)).want(201)
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: d, Size: int64(len(content))}
}

// image makes a manifest of blobs that are in the repository.
func (s *scene) image(repository string, layers ...string) ocispec.Manifest {
	s.t.Helper()
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{}}
	m.Config = s.blob(repository, "{}")
	m.Config.MediaType = ocispec.MediaTypeImageConfig
	for _, l := range layers {
		m.Layers = append(m.Layers, s.blob(repository, l))
	}
	return m
}

// put pushes a manifest and returns its descriptor. An empty tag stands for the
// digest.
func (s *scene) put(repository, tag, mediaType string, v any) (ocispec.Descriptor, answer) {
	s.t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	d := digest.FromBytes(raw)
	if tag == "" {
		tag = d.String()
	}
	a := s.do("PUT", "/v2/"+repository+"/manifests/"+tag, raw, "Content-Type", mediaType).want(201, "Docker-Content-Digest", d.String())
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(raw))}, a
}

// blobFile returns the file that has the bytes of a digest.
func (s *scene) blobFile(d digest.Digest) string {
	return filepath.Join(s.dir, "blobs", d.Algorithm().String(), d.Encoded())
}
