//go:build linux

package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

// A daemon asks a registry's mirror, as a classroom's is told to.
func TestDaemonWithAMirror(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Overlay)
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	config := t.TempDir()
	text := fmt.Sprintf(`{"mirrors": {"registry.example": ["http://%s"]}}`, serveRegistry(t, filepath.Join(bin, "guests", "box")))
	if err := os.WriteFile(filepath.Join(config, "registries.json"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	d := running(t, "--config", config)
	out, err := exec.Command(filepath.Join(bin, "drydock"), "-H", d.host, "pull", "registry.example/tiny:1").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
