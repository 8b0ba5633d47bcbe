//go:build linux

package images

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
)

// dockerRegistry starts Debian's registry and returns its address.
func dockerRegistry(t testing.TB) string {
	t.Helper()
	hosttest.Require(t, hosttest.Program("docker-registry"))
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
	t.Cleanup(func() {
		_ = registry.Process.Kill()
		_ = registry.Wait() // it was killed
	})
	// It says nothing when it listens, so it is asked.
	deadline := time.Now().Add(10 * time.Second)
	for {
		resp, err := http.Get("http://" + host + "/v2/")
		if err == nil {
			resp.Body.Close()
			return host
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// Debian's registry: ours goes in, by both ways of pushing, and skopeo and we get it out.
func TestDockerRegistry(t *testing.T) {
	host := dockerRegistry(t)
	from, _ := openStore(t)
	to, _ := openStore(t)
	img := create(t, from, host+"/demo:1", [2]string{"a", "1"}, [2]string{"b", noise(1 << 20)})
	other := create(t, from, host+"/demo:2", [2]string{"c", noise(2 << 20)})
	if _, err := from.Push(t.Context(), host+"/demo:1", PushOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := from.Push(t.Context(), host+"/demo:2", PushOptions{Chunk: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]Image{"1": img, "2": other} {
		got, err := to.Pull(t.Context(), host+"/demo:"+tag, PullOptions{})
		if err != nil || got.ID != want.ID {
			t.Fatalf("pulled %s, %v; want %s", got.ID, err, want.ID)
		}
	}
	wantComplete(t, to)
	hosttest.Require(t, hosttest.Program("skopeo"))
	dir := t.TempDir()
	out, err := exec.Command("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+host+"/demo:2", "dir:"+dir).CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo copy: %v\n%s", err, out)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if doc, err := newDocument(raw, ""); err != nil || doc.digest != other.Manifest {
		t.Errorf("skopeo got the manifest %s, %v; want %s", doc.digest, err, other.Manifest)
	}
}
