//go:build linux

package cgroups_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"drydock.example/01-chroot/explain/stracetest"
)

func TestExplainIsWhatStraceSees(t *testing.T) {
	limit := filepath.Join(t.TempDir(), "limit")
	if out, err := exec.Command("go", "build", "-o", limit, "./cmd/limit").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	stracetest.Check(t, limit, "--explain", "-m", "64m", "--cpus", "0.5", "--pids", "4", "--name", "strace", "true")
}
