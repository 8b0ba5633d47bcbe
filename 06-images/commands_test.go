//go:build linux

package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"drydock.example/01-chroot/hosttest"
)

// The commands that speak with registries and need no store, as one types them.
func TestRegistryCommands(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	t.Parallel()
	from, to := newRegistry(t), newRegistry(t)
	top := from.put("demo", "1", gzipLayer(t, "a", "1"))
	dir := t.TempDir()
	note := filepath.Join(dir, "note.txt")
	if err := os.WriteFile(note, []byte("it works here"), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "image")
	if out, err := exec.Command("go", "build", "-o", program, "./cmd/image").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	run := func(want string, args ...string) string {
		t.Helper()
		out, err := exec.Command(program, append([]string{"--config", dir}, args...)...).CombinedOutput()
		if !strings.Contains(string(out), want) || (err != nil) != strings.HasPrefix(want, "image: ") {
			t.Errorf("image %q: %v\n%swant %q", args, err, out, want)
		}
		return strings.TrimSpace(string(out))
	}
	attached := run("sha256:", "attach", "text/plain", from.host+"/demo:1", note)
	if digest.Digest(attached).Validate() != nil {
		t.Fatalf("attach says %q", attached)
	}
	run("1: digest: "+top.Digest.String(), "copy", "--referrers", from.host+"/demo:1", to.host+"/team/demo:1")
	run(attached+"   text/plain", "referrers", to.host+"/team/demo:1")
	run("note.txt", "fetch", to.host+"/team/demo@"+attached, t.TempDir())
	run("Deleted: "+to.host+"/team/demo@"+top.Digest.String(), "delete", to.host+"/team/demo@"+top.Digest.String())
	run("image: manifest 1: manifest unknown", "referrers", to.host+"/team/demo:1")
	run("image: usage: image copy", "copy", from.host+"/demo:1")
	run("image: usage: image attach", "attach", "no-type", from.host+"/demo:1", note)

	if err := os.WriteFile(filepath.Join(dir, "registries.json"), []byte(`{"mirrors": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	run("image: "+filepath.Join(dir, "registries.json")+": json: cannot unmarshal", "copy", from.host+"/demo:1", to.host+"/demo:1")
}
