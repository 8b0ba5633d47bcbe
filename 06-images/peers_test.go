//go:build linux

package images

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

// Others pull from us what we have pulled, and it arrives as it was.
func TestServeToSkopeo(t *testing.T) {
	hosttest.Require(t, hosttest.Program("skopeo"))
	s, _ := openStore(t)
	r := newRegistry(t)
	desc := r.put("demo", "1", gzipLayer(t, "a", "1"), zstdLayer(t, "b", "2"))
	if _, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	dir := t.TempDir()
	out, err := exec.Command("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+host+"/demo:1", "dir:"+dir).CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo copy: %v\n%s", err, out)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if doc, err := newDocument(raw, ""); err != nil || doc.digest != desc.Digest {
		t.Errorf("skopeo got the manifest %s, %v; want %s", doc.digest, err, desc.Digest)
	}
}

func TestServeToOurselves(t *testing.T) {
	from, _ := openStore(t)
	to, _ := openStore(t)
	img := create(t, from, "demo:1", [2]string{"a", "1"})
	server := httptest.NewServer(from.Handler())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	got, err := to.Pull(t.Context(), host+"/demo:1", PullOptions{})
	if err != nil || got.ID != img.ID || got.Manifest != img.Manifest {
		t.Errorf("pulled %s %s, %v; want %s %s", got.ID, got.Manifest, err, img.ID, img.Manifest)
	}
	wantComplete(t, to)
	for path, want := range map[string]string{
		"/v2/demo/manifests/2":                          "MANIFEST_UNKNOWN",
		"/v2/demo/manifests/" + img.DiffIDs[0].String(): "MANIFEST_UNKNOWN",
		"/v2/demo/blobs/sha256:..%2f..%2fimages.db":     "BLOB_UNKNOWN",
		"/v2/_catalog": "UNSUPPORTED",
	} {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound || !strings.Contains(string(body), want) {
			t.Errorf("GET %s: %s %s; want 404 %s", path, resp.Status, body, want)
		}
	}
}

// Debian's registry, and an image that skopeo has put there.
func TestPullFromDockerRegistry(t *testing.T) {
	hosttest.Require(t, hosttest.Program("docker-registry"), hosttest.Program("skopeo"))
	from, _ := openStore(t)
	to, _ := openStore(t)
	img := create(t, from, "demo:1", [2]string{"a", "1"}, [2]string{"b", noise(1 << 20)})
	server := httptest.NewServer(from.Handler())
	defer server.Close()

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	yaml := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n", dir, host)
	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	registry := exec.Command("docker-registry", "serve", config)
	registry.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	if err := registry.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		registry.Process.Kill()
		registry.Wait()
	}()
	// skopeo tries again by itself until the registry listens.
	out, err := exec.Command("skopeo", "--insecure-policy", "copy", "--retry-times", "5", "--src-tls-verify=false", "--dest-tls-verify=false",
		"docker://"+strings.TrimPrefix(server.URL, "http://")+"/demo:1", "docker://"+host+"/demo:1").CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo copy: %v\n%s", err, out)
	}
	got, err := to.Pull(t.Context(), host+"/demo:1", PullOptions{})
	if err != nil || got.ID != img.ID {
		t.Fatalf("pulled %s, %v; want %s", got.ID, err, img.ID)
	}
	wantComplete(t, to)
}
