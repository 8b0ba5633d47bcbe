//go:build linux

package registry

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"drydock.example/01-chroot/hosttest"
	images "drydock.example/06-images"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func (s *scene) host() string { return strings.TrimPrefix(s.url, "http://") }

func openStore(t testing.TB) *images.Store {
	t.Helper()
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	db, err := images.OpenDB(filepath.Join(dir, "images.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	store, err := images.Open(dir, db)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// createImage makes an image of one layer, a file of size bytes that do not
// compress.
func createImage(t testing.TB, store *images.Store, name string, size int) images.Image {
	t.Helper()
	content := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(content)
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "noise", Mode: 0o644, Size: int64(size)}); err != nil {
		t.Fatal(err)
	}
	w.Write(content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	img, err := store.Create(t.Context(), name, ocispec.Image{Config: ocispec.ImageConfig{Cmd: []string{"/noise"}}}, &layer)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestOurClient(t *testing.T) {
	s := newScene(t, Options{})
	from, to := openStore(t), openStore(t)
	img := createImage(t, from, s.host()+"/team/demo:1", 300_000)
	for _, chunk := range []int64{0, 1000, 100_000} {
		d, err := from.Push(t.Context(), s.host()+"/team/demo:1", images.PushOptions{Chunk: chunk})
		if err != nil || d != img.Manifest {
			t.Fatalf("Push = %s, %v; want %s", d, err, img.Manifest)
		}
		got, err := to.Pull(t.Context(), s.host()+"/team/demo:1", images.PullOptions{})
		if err != nil || got.ID != img.ID {
			t.Fatalf("Pull = %s, %v; want %s", got.ID, err, img.ID)
		}
		s.do("DELETE", "/v2/team/demo/manifests/"+d.String(), nil).want(202)
		if _, err := s.reg.Collect(t.Context(), -1); err != nil {
			t.Fatal(err)
		}
		if _, _, err := to.Remove(t.Context(), img.ID.String(), true); err != nil {
			t.Fatal(err)
		}
	}
}

// A push whose connections break goes on with what the registry has.
func TestPushGoesOnAfterCuts(t *testing.T) {
	for _, chunk := range []int64{0, 200_000} {
		s := newScene(t, Options{})
		var received atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != "PATCH" && r.Method != "PUT" || !strings.Contains(r.URL.Path, "/uploads/") {
				s.reg.ServeHTTP(w, r)
				return
			}
			// The bytes arrive, some of them, and no answer is ever heard.
			r.Body = &cutBody{ReadCloser: r.Body, left: 150_000, received: &received}
			s.reg.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}))
		defer server.Close()
		host := strings.TrimPrefix(server.URL, "http://")
		from, to := openStore(t), openStore(t)
		createImage(t, from, host+"/demo:1", 1_000_000)
		if _, err := from.Push(t.Context(), host+"/demo:1", images.PushOptions{Chunk: chunk}); err != nil {
			t.Fatalf("chunk %d: %v", chunk, err)
		}
		if _, err := to.Pull(t.Context(), s.host()+"/demo:1", images.PullOptions{}); err != nil {
			t.Fatal(err)
		}
		if n := received.Load(); n > 1_200_000 {
			t.Errorf("chunk %d: %d bytes travelled for a blob of 1 MB", chunk, n)
		}
	}
}

// cutBody breaks off after some bytes.
type cutBody struct {
	io.ReadCloser
	left     int
	received *atomic.Int64
}

func (c *cutBody) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	c.received.Add(int64(n))
	return n, err
}

func TestSkopeoAndPodman(t *testing.T) {
	hosttest.Require(t, hosttest.Program("skopeo"))
	s := newScene(t, Options{})
	from, to := openStore(t), openStore(t)
	img := createImage(t, from, s.host()+"/demo:1", 300_000)
	if _, err := from.Push(t.Context(), s.host()+"/demo:1", images.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "DOCKER_CONFIG=") // podman insists on a file where it is set
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	dir := t.TempDir()
	ours := "docker://" + s.host() + "/"
	run("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", ours+"demo:1", "dir:"+dir)
	run("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "dir:"+dir, ours+"by/skopeo:2")
	run("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", ours+"demo:1", ours+"by/mount:2")
	for _, name := range []string{"/by/skopeo:2", "/by/mount:2"} {
		if got, err := to.Pull(t.Context(), s.host()+name, images.PullOptions{}); err != nil || got.ID != img.ID || got.Manifest != img.Manifest {
			t.Errorf("pulled %s, %v; want %s", got.ID, err, img.ID)
		}
	}
	var tags struct{ Tags []string }
	if err := json.Unmarshal([]byte(run("skopeo", "list-tags", "--tls-verify=false", ours+"by/skopeo")), &tags); err != nil || len(tags.Tags) != 1 || tags.Tags[0] != "2" {
		t.Errorf("skopeo lists %v, %v", tags.Tags, err)
	}
	run("skopeo", "delete", "--tls-verify=false", ours+"by/skopeo:2")
	s.do("GET", "/v2/by/skopeo/manifests/2", nil).refused(404, "MANIFEST_UNKNOWN")

	hosttest.Require(t, hosttest.Program("podman"))
	root, err := os.MkdirTemp("/tmp", "pod") // podman wants a short path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	podman := []string{"podman", "--root", root + "/root", "--runroot", root + "/run", "--storage-driver", "vfs"}
	defer exec.Command("podman", append(podman[1:], "system", "reset", "-f")...).Run()
	run(append(podman, "pull", "--tls-verify=false", s.host()+"/demo:1")...)
	run(append(podman, "push", "--tls-verify=false", s.host()+"/demo:1", s.host()+"/by/podman:3")...)
	if got, err := to.Pull(t.Context(), s.host()+"/by/podman:3", images.PullOptions{}); err != nil || got.DiffIDs[0] != img.DiffIDs[0] {
		t.Errorf("pulled podman's %v, %v; want the layer %s", got.DiffIDs, err, img.DiffIDs[0])
	}
	if _, err := os.Stat(s.blobFile(img.Manifest)); err != nil {
		t.Error(err)
	}
}

// Google's crane, which has a client of its own.
func TestCrane(t *testing.T) {
	hosttest.Require(t, hosttest.Program("crane"))
	s := newScene(t, Options{})
	from, to := openStore(t), openStore(t)
	img := createImage(t, from, s.host()+"/demo:1", 300_000)
	if _, err := from.Push(t.Context(), s.host()+"/demo:1", images.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	crane := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("crane", append([]string{"--insecure"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("crane %q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	ours, tar := s.host()+"/demo:1", filepath.Join(t.TempDir(), "demo.tar")
	if got := crane("digest", ours); got != img.Manifest.String() {
		t.Errorf("crane digest: %s, want %s", got, img.Manifest)
	}
	crane("validate", "--remote", ours)
	crane("copy", ours, s.host()+"/by/copy:2")
	crane("pull", ours, tar)
	crane("push", tar, s.host()+"/by/crane:3")
	crane("tag", s.host()+"/by/crane:3", "4")
	if got := crane("ls", s.host()+"/by/crane"); got != "3\n4" {
		t.Errorf("crane ls: %q", got)
	}
	for _, name := range []string{"/by/copy:2", "/by/crane:4"} {
		if got, err := to.Pull(t.Context(), s.host()+name, images.PullOptions{}); err != nil || got.DiffIDs[0] != img.DiffIDs[0] {
			t.Errorf("pulled %s: %v, %v; want the layer %s", name, got.DiffIDs, err, img.DiffIDs[0])
		}
	}
	crane("delete", s.host()+"/by/copy@"+img.Manifest.String())
	s.do("GET", "/v2/by/copy/manifests/2", nil).refused(404, "MANIFEST_UNKNOWN")
}

// Where a registry sends an upload to another host, that host learns nothing of
// who we are.
func TestUploadElsewhereCarriesNoCredentials(t *testing.T) {
	s := newScene(t, Options{})
	var leaked atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked.Store(leaked.Load() || r.Header.Get("Authorization") != "")
		s.reg.ServeHTTP(w, r)
	}))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.Method != "POST" {
			s.reg.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		s.reg.ServeHTTP(answer, r)
		w.Header().Set("Location", elsewhere.URL+answer.Header().Get("Location"))
		w.WriteHeader(answer.Code)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	from := openStore(t)
	createImage(t, from, host+"/demo:1", 1000)
	opt := images.PushOptions{Credentials: images.Credentials{Username: "ann", Password: "secret"}}
	if _, err := from.Push(t.Context(), host+"/demo:1", opt); err != nil {
		t.Fatal(err)
	}
	if leaked.Load() {
		t.Error("the place of the upload has seen the credentials")
	}
	s.do("GET", "/v2/demo/manifests/1", nil).want(200)
}
