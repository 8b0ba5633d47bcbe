//go:build linux

package namespaces

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drydock.example/01-chroot/explain/stracetest"
)

func TestExplainIsWhatStraceSees(t *testing.T) {
	root := newRoot(t)
	isolate := isolateProgram(t)
	stracetest.Check(t, isolate, "--explain", root, "/bin/probe")
	stracetest.Check(t, isolate, "--explain", "--user", root, "/bin/probe")
	profile := filepath.Join(t.TempDir(), "profile.json")
	if err := os.WriteFile(profile, []byte(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["keyctl"],"action":"SCMP_ACT_ERRNO"}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := stracetest.Check(t, isolate, "--explain", "--seccomp", profile, root, "/bin/probe"); !strings.Contains(out, "  seccomp(SECCOMP_SET_MODE_FILTER, ") {
		t.Errorf("the filter is not explained:\n%s", out)
	}
	stracetest.Check(t, isolate, "--explain", "--init", root, "/bin/probe")
	p := running(t, NewSpec(root, "probe"))
	stracetest.Check(t, isolate, "--explain", "--join", itoa(p.Pid), "/bin/probe")
}

func TestWhatOthersAskTheKernel(t *testing.T) {
	root := newRoot(t)
	stracetest.Table(t, "README.md", func(t *testing.T, name string) []string {
		if name == "isolate" {
			return []string{isolateProgram(t), root, "probe", "exit", "0"}
		}
		return stracetest.Runtime(t, name, program(t, "probe"), "exit", "0")
	})
}
