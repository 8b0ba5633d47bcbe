//go:build linux

package images

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard) // distribution's
	os.Setenv("DOCKER_CONFIG", "/nonexistent")
	os.Exit(hosttest.Run(m))
}

// testRegistry is distribution, the registry that everybody runs, in this
// process. What goes through fault first may be cut or altered.
type testRegistry struct {
	t     testing.TB
	host  string
	fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

	mu   sync.Mutex
	gets []string // the paths that were asked for
}

func newRegistry(t testing.TB) *testRegistry {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	app := handlers.NewApp(ctx, &configuration.Configuration{
		Storage: configuration.Storage{"inmemory": nil, "delete": {"enabled": true}},
		Catalog: configuration.Catalog{MaxEntries: 100},
	})
	r := &testRegistry{t: t}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		if req.Method == http.MethodGet {
			r.gets = append(r.gets, req.URL.Path)
		}
		fault := r.fault
		r.mu.Unlock()
		if fault != nil && (req.Method == http.MethodGet) {
			fault(w, req, app)
			return
		}
		app.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	r.host = strings.TrimPrefix(server.URL, "http://")
	return r
}

// fetched returns how often a blob was asked for.
func (r *testRegistry) fetched(d digest.Digest) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, path := range r.gets {
		if strings.HasSuffix(path, "/blobs/"+d.String()) {
			n++
		}
	}
	return n
}

// do makes a request that must succeed, and returns the Location that it is
// answered with.
func (r *testRegistry) do(method, url, contentType string, body []byte) string {
	r.t.Helper()
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode >= 300 {
		r.t.Fatalf("%s %s: %s", method, url, resp.Status)
	}
	return resp.Header.Get("Location")
}

// putBlob uploads a blob.
func (r *testRegistry) putBlob(repository, mediaType string, b []byte) ocispec.Descriptor {
	r.t.Helper()
	d := digest.FromBytes(b)
	location := r.do(http.MethodPost, fmt.Sprintf("http://%s/v2/%s/blobs/uploads/", r.host, repository), "", nil)
	sep := "?"
	if strings.Contains(location, "?") {
		sep = "&"
	}
	r.do(http.MethodPut, location+sep+"digest="+d.String(), "application/octet-stream", b)
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
}

// putManifest uploads a manifest or an index under a tag or a digest.
func (r *testRegistry) putManifest(repository, id, mediaType string, v any) ocispec.Descriptor {
	r.t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		r.t.Fatal(err)
	}
	d := digest.FromBytes(raw)
	if id == "" {
		id = d.String()
	}
	r.do(http.MethodPut, fmt.Sprintf("http://%s/v2/%s/manifests/%s", r.host, repository, id), mediaType, raw)
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(raw))}
}

// layer is a tar and the blob that a registry has of it.
type layer struct {
	mediaType string
	tar, blob []byte
}

func (l layer) diffID() digest.Digest { return digest.FromBytes(l.tar) }
func (l layer) digest() digest.Digest { return digest.FromBytes(l.blob) }

// tarOf makes a tar of files, given as name and content in turn; a name that
// ends in "/" is a directory.
func tarOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		h := &tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg}
		if strings.HasSuffix(files[i], "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, files[i+1])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipLayer(t testing.TB, files ...string) layer {
	t.Helper()
	plain := tarOf(t, files...)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(plain)
	z.Close()
	return layer{ocispec.MediaTypeImageLayerGzip, plain, b.Bytes()}
}

func zstdLayer(t testing.TB, files ...string) layer {
	t.Helper()
	plain := tarOf(t, files...)
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return layer{ocispec.MediaTypeImageLayerZstd, plain, z.EncodeAll(plain, nil)}
}

func plainLayer(t testing.TB, files ...string) layer {
	t.Helper()
	plain := tarOf(t, files...)
	return layer{ocispec.MediaTypeImageLayer, plain, plain}
}

// noise is n bytes that do not compress, the same every time.
func noise(n int) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return string(b)
}

// configFor returns an image's config for the platform os/architecture.
func configFor(platform string, layers ...layer) ocispec.Image {
	p, err := ParsePlatform(platform)
	if err != nil {
		panic(err)
	}
	c := ocispec.Image{Platform: p, RootFS: ocispec.RootFS{Type: "layers"}}
	c.Config.Cmd = []string{"/hello"}
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, l.diffID())
	}
	return c
}

// put uploads an image for this machine and returns its manifest's descriptor.
func (r *testRegistry) put(repository, tag string, layers ...layer) ocispec.Descriptor {
	r.t.Helper()
	return r.putConfig(repository, tag, configFor(FormatPlatform(HostPlatform()), layers...), layers...)
}

func (r *testRegistry) putConfig(repository, tag string, config ocispec.Image, layers ...layer) ocispec.Descriptor {
	r.t.Helper()
	raw, err := json.Marshal(config)
	if err != nil {
		r.t.Fatal(err)
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	m.Config = r.putBlob(repository, ocispec.MediaTypeImageConfig, raw)
	for _, l := range layers {
		m.Layers = append(m.Layers, r.putBlob(repository, l.mediaType, l.blob))
	}
	return r.putManifest(repository, tag, m.MediaType, m)
}

func openStore(t testing.TB) (*Store, string) {
	t.Helper()
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	return openStoreIn(t, dir), dir
}

func openStoreIn(t testing.TB, dir string) *Store {
	t.Helper()
	db, err := OpenDB(filepath.Join(dir, "images.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := Open(dir, db)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantNothing fails where the store has an image, a blob, a layer, or
// something half written.
func wantNothing(t *testing.T, s *Store, dir string) {
	t.Helper()
	if all, err := s.List(); err != nil || len(all) != 0 {
		t.Errorf("List() = %v, %v; want no image", all, err)
	}
	wantNoFiles(t, dir, "content")
	wantNoFiles(t, dir, "layers")
}

func wantNoFiles(t *testing.T, dir, sub string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, sub), func(path string, d fs.DirEntry, err error) error {
		if err == nil && (!d.IsDir() || strings.HasPrefix(d.Name(), "tmp-")) {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// wantComplete fails where an image of the store lacks a blob or a layer, or
// has one that is not what its digest says.
func wantComplete(t *testing.T, s *Store) {
	t.Helper()
	all, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range all {
		raw, err := s.content.Bytes(img.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := newDocument(raw, "")
		if err != nil {
			t.Fatal(err)
		}
		m, err := doc.manifest()
		if err != nil {
			t.Fatal(err)
		}
		blobs := []digest.Digest{img.Manifest, img.ID}
		for _, l := range m.Layers {
			blobs = append(blobs, l.Digest)
		}
		for _, d := range blobs {
			if err := s.content.Check(d); err != nil {
				t.Errorf("%v: %v", img.Tags, err)
			}
		}
		for _, d := range img.DiffIDs {
			if !s.layers.Has(d) {
				t.Errorf("%v: layer %s is missing", img.Tags, d)
			}
		}
	}
}

// wantError fails unless err says all of the words.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q\ndoes not say %q", err, w)
		}
	}
}

// read returns a file's content as a container on the image would see it.
func read(t *testing.T, s *Store, img Image, name string) (string, error) {
	t.Helper()
	lower, err := s.Lower(img)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range lower {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		if info.Mode()&fs.ModeCharDevice != 0 {
			return "", fs.ErrNotExist // a whiteout
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		return string(b), err
	}
	return "", fs.ErrNotExist
}

// refuse answers with an error of the distribution specification.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}
