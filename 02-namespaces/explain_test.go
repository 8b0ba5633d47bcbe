//go:build linux

package namespaces

import (
	"os/exec"
	"path/filepath"
	"testing"

	"drydock.example/01-chroot/explain/stracetest"
)

func TestExplainIsWhatStraceSees(t *testing.T) {
	root := newRoot(t)
	isolate := filepath.Join(t.TempDir(), "isolate")
	if out, err := exec.Command("go", "build", "-o", isolate, "./cmd/isolate").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	stracetest.Check(t, isolate, "--explain", root, "/bin/probe")
}
