//go:build linux

package registry

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Category 2, push: a blob at once.
func TestPushMonolithic(t *testing.T) {
	s := newScene(t, Options{MaxBlob: 100})
	d := digest.FromString("hello").String()

	location := s.upload("a")
	a := s.do("PUT", location+"?digest="+d, []byte("hello"), "Content-Type", "application/octet-stream").want(201, "Docker-Content-Digest", d)
	s.do("GET", a.location(), nil).want(200, "Content-Length", "5")
	s.do("PUT", location+"?digest="+d, []byte("hello")).refused(404, "BLOB_UPLOAD_UNKNOWN")

	a = s.do("POST", "/v2/b/blobs/uploads/?digest="+d, []byte("hello")).want(201, "Docker-Content-Digest", d)
	s.do("GET", a.location(), nil).want(200)

	s.do("PUT", s.upload("c"), []byte("hello")).refused(400, "DIGEST_INVALID")
	s.do("PUT", s.upload("c")+"?digest=sha256:x", []byte("hello")).refused(400, "DIGEST_INVALID")
	s.do("POST", "/v2/c/blobs/uploads/?digest=sha256:x", []byte("hello")).refused(400, "DIGEST_INVALID")
	location = s.upload("c")
	s.do("PUT", location+"?digest="+d, []byte("hallo")).refused(400, "DIGEST_INVALID")
	s.do("GET", location, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
	s.do("GET", "/v2/c/blobs/"+d, nil).want(404)

	large := []byte(strings.Repeat("x", 101))
	s.do("POST", "/v2/c/blobs/uploads/?digest="+digest.FromBytes(large).String(), large).refused(413, "SIZE_INVALID")
	location = s.upload("c")
	s.do("PATCH", location, large[:60]).want(202)
	s.do("PATCH", location, large[60:]).refused(413, "SIZE_INVALID")
	s.do("GET", location, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
}

// Category 2, push: a blob in chunks.
func TestPushChunked(t *testing.T) {
	s := newScene(t, Options{})
	d := digest.FromString("0123456789").String()
	location := s.upload("a")
	s.do("GET", location, nil).want(204, "Range", "0-0")
	s.do("PATCH", location, []byte("34567"), "Content-Range", "3-7").want(416).refused(416, "BLOB_UPLOAD_INVALID")
	a := s.do("PATCH", location, []byte("012"), "Content-Range", "0-2", "Content-Type", "application/octet-stream").want(202, "Range", "0-2")
	s.do("PATCH", location, []byte("012"), "Content-Range", "0-2").want(416, "Range", "0-2", "Location", location)
	s.do("PATCH", location, []byte("3"), "Content-Range", "bytes 3-3/10").refused(416, "BLOB_UPLOAD_INVALID")
	s.do("PATCH", location, []byte("34"), "Content-Range", "3-9").refused(400, "SIZE_INVALID")
	s.do("GET", a.location(), nil).want(204, "Range", "0-2", "Location", location)
	a = s.do("PATCH", a.location(), []byte("3456"), "Content-Range", "3-6").want(202, "Range", "0-6")
	s.do("PUT", a.location()+"?digest="+d, []byte("789"), "Content-Range", "6-8").refused(416, "BLOB_UPLOAD_INVALID")
	a = s.do("PUT", a.location()+"?digest="+d, []byte("789"), "Content-Range", "7-9").want(201)
	if got := s.do("GET", a.location(), nil).want(200); string(got.body) != "0123456789" {
		t.Errorf("the blob is %q", got.body)
	}

	// Without Content-Range, all in one stream, and closed by an empty PUT.
	location = s.upload("b")
	s.do("PATCH", location, []byte("0123456789")).want(202, "Range", "0-9")
	s.do("PUT", location+"?digest="+d, nil).want(201)

	location = s.upload("b")
	s.do("PATCH", location, []byte("012")).want(202)
	s.do("DELETE", location, nil).want(204)
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		s.do(method, location, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
	}
	s.do("GET", "/v2/b/blobs/uploads/..", nil).want(404)
	s.do("GET", strings.Replace(s.upload("b"), "/b/", "/c/", 1), nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
}

// An upload goes on where it was, also in the next process.
func TestUploadSurvivesRestart(t *testing.T) {
	s := newScene(t, Options{})
	location := s.upload("a")
	s.do("PATCH", location, []byte("01234"), "Content-Range", "0-4").want(202)
	if err := s.reg.Close(); err != nil {
		t.Fatal(err)
	}
	reg, err := Open(s.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.reg = reg
	s.do("GET", location, nil).want(204, "Range", "0-4")
	s.do("PATCH", location, []byte("56"), "Content-Range", "5-6").want(202, "Range", "0-6")
	s.do("PUT", location+"?digest="+digest.FromString("0123456789").String(), []byte("789"), "Content-Range", "7-9").want(201)
}

func TestOneProcessHasTheRegistry(t *testing.T) {
	s := newScene(t, Options{})
	if _, err := Open(s.dir, Options{}); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("opened twice: %v", err)
	}
}

// A client whose connection hangs comes again on another one, and goes on.
func TestUploadIsTakenOver(t *testing.T) {
	s := newScene(t, Options{})
	location := s.upload("a")
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n01234", location)
	// The five bytes are on the way: whoever asks until then sees fewer.
	for s.do("GET", location, nil).want(204).header.Get("Range") != "0-4" {
	}
	s.do("PATCH", location, []byte("56789"), "Content-Range", "5-9").want(202, "Range", "0-9")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, "400") {
		t.Errorf("the request that hung was answered with %q, %v", line, err)
	}
	s.do("PUT", location+"?digest="+digest.FromString("0123456789").String(), nil).want(201)
}

// Category 2, push: a blob that the registry has.
func TestMount(t *testing.T) {
	s := newScene(t, Options{})
	l := s.blob("a", "layer")
	d := l.Digest.String()
	a := s.do("POST", "/v2/b/blobs/uploads/?mount="+d+"&from=a", nil).want(201, "Docker-Content-Digest", d, "Location", "/v2/b/blobs/"+d)
	s.do("GET", a.location(), nil).want(200)
	s.do("POST", "/v2/c/blobs/uploads/?mount="+d, nil).want(201, "Location", "/v2/c/blobs/"+d)
	for _, query := range []string{"mount=" + nowhere + "&from=a", "mount=" + d + "&from=nobody", "mount=" + d + "&from=../x", "mount=x&from=a", "mount=" + nowhere} {
		location := s.do("POST", "/v2/d/blobs/uploads/?"+query, nil).want(202).location()
		s.do("PUT", location+"?digest="+d, []byte("layer")).want(201)
		s.do("DELETE", "/v2/d/blobs/"+d, nil).want(202)
	}
	entries, err := os.ReadDir(s.dir + "/blobs/sha256")
	if err != nil || len(entries) != 1 {
		t.Errorf("%d blobs on disk, %v; want one for all repositories", len(entries), err)
	}
}

// Category 2, push: manifests.
func TestPushManifest(t *testing.T) {
	s := newScene(t, Options{})
	m := s.image("a", "layer")
	desc, a := s.put("a", "v1", m.MediaType, m)
	s.do("GET", a.location(), nil).want(200, "Docker-Content-Digest", desc.Digest.String())
	s.put("a", "", m.MediaType, m)

	empty := s.image("a")
	s.put("a", "empty", empty.MediaType, empty)

	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{desc}}
	s.put("a", "index", index.MediaType, index)

	// Of the type that the document states, where the request is silent.
	s.do("PUT", "/v2/a/manifests/v1", []byte(`{"schemaVersion":2,"mediaType":"`+index.MediaType+`","manifests":[]}`)).want(201)
	s.do("GET", "/v2/a/manifests/v1", nil).want(200, "Content-Type", index.MediaType)

	const image, list = ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex
	config := fmt.Sprintf(`"config":{"mediaType":"x","digest":%q,"size":2}`, m.Config.Digest)
	for _, tt := range []struct{ what, id, mediaType, body, code string }{
		{"no JSON", "x", image, `{`, "MANIFEST_INVALID"},
		{"no type at all", "x", "", `{"schemaVersion":2,` + config + `}`, "MANIFEST_INVALID"},
		{"no config", "x", image, `{"schemaVersion":2}`, "MANIFEST_INVALID"},
		{"schema 1", "x", image, `{"schemaVersion":1,` + config + `}`, "MANIFEST_INVALID"},
		{"two readings", "x", image, `{"schemaVersion":2,` + config + `,"manifests":[]}`, "MANIFEST_INVALID"},
		{"an image that says it is an index", "x", list, `{"schemaVersion":2,` + config + `}`, "MANIFEST_INVALID"},
		{"two types", "x", image, `{"schemaVersion":2,"mediaType":"` + list + `",` + config + `}`, "MANIFEST_INVALID"},
		{"a tag that is none", "-x", image, `{"schemaVersion":2,` + config + `}`, "MANIFEST_INVALID"},
		{"not its digest", nowhere, image, `{"schemaVersion":2,` + config + `}`, "DIGEST_INVALID"},
		{"a layer that is not here", "x", image, `{"schemaVersion":2,` + config + `,"layers":[{"mediaType":"x","digest":"` + nowhere + `","size":1}]}`, "MANIFEST_BLOB_UNKNOWN"},
		{"a layer whose digest is none", "x", image, `{"schemaVersion":2,` + config + `,"layers":[{"mediaType":"x","digest":"../x","size":1}]}`, "DIGEST_INVALID"},
		{"a lie about a size", "x", image, `{"schemaVersion":2,` + strings.Replace(config, `"size":2`, `"size":3`, 1) + `}`, "MANIFEST_INVALID"},
		{"an index of nothing that is here", "x", list, `{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"` + nowhere + `","size":1}]}`, "MANIFEST_BLOB_UNKNOWN"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			s := *s
			s.t = t
			var headers []string
			if tt.mediaType != "" {
				headers = []string{"Content-Type", tt.mediaType}
			}
			s.do("PUT", "/v2/a/manifests/"+tt.id, []byte(tt.body), headers...).refused(400, tt.code)
		})
	}
	s.do("GET", "/v2/a/manifests/x", nil).refused(404, "MANIFEST_UNKNOWN")
	s.do("PUT", "/v2/a/manifests/x", make([]byte, maxManifest+1), "Content-Type", image).refused(413, "SIZE_INVALID")

	foreign := s.image("a")
	foreign.Layers = []ocispec.Descriptor{{MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Digest: nowhere, Size: 9, URLs: []string{"https://example.com/l"}}}
	s.put("a", "windows", foreign.MediaType, foreign)
}

// FuzzManifest pushes what a stranger sends. What is taken comes back as the
// same bytes, and names nothing that is not here.
func FuzzManifest(f *testing.F) {
	config := `"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + digest.FromString("{}").String() + `","size":2}`
	f.Add([]byte(`{"schemaVersion":2,`+config+`,"layers":[]}`), "application/vnd.oci.image.manifest.v1+json", "tag")
	f.Add([]byte(`{"schemaVersion":2,`+config+`,"subject":{"digest":"`+nowhere+`","size":1}}`), "application/vnd.oci.image.manifest.v1+json", digest.FromString("x").String())
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"../x","size":-1}]}`), "application/vnd.oci.image.index.v1+json; charset=utf-8", "..")
	s := newScene(f, Options{})
	s.blob("a", "{}")
	f.Fuzz(func(t *testing.T, raw []byte, contentType, id string) {
		ask := func(method, path string, body []byte) *httptest.ResponseRecorder {
			req := httptest.NewRequest(method, "/", bytes.NewReader(body))
			req.URL.Path = path
			req.Header.Set("Content-Type", contentType)
			w := httptest.NewRecorder()
			s.reg.ServeHTTP(w, req)
			return w
		}
		put := ask("PUT", "/v2/a/manifests/"+id, raw)
		if put.Code >= 500 {
			t.Errorf("%q as %q under %q: %d", raw, contentType, id, put.Code)
		}
		if put.Code != http.StatusCreated {
			return
		}
		if got := ask("GET", put.Header().Get("Location"), nil); got.Code != http.StatusOK || !bytes.Equal(got.Body.Bytes(), raw) {
			t.Errorf("%q came back as %d %q", raw, got.Code, got.Body)
		}
	})
}
