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
	stracetest.Check(t, isolate, "--explain", "--user", root, "/bin/probe")
	p := running(t, NewSpec(root, "probe"))
	stracetest.Check(t, isolate, "--explain", "--join", itoa(p.Pid), "/bin/probe")
}
