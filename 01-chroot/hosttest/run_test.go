//go:build linux

package hosttest

import (
	"net"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Run(m)) }

func TestTheTestsRunInNamespacesOfTheirOwn(t *testing.T) {
	Require(t, Root)
	if ppid := os.Getppid(); ppid != 1 {
		t.Errorf("the parent is process %d of the PID namespace, want 1", ppid)
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if len(links) != 1 || links[0].Flags&net.FlagUp == 0 {
		t.Errorf("links are %v, want lo alone, and up", links)
	}
	for _, m := range mounts() {
		if m.propagation != "" {
			t.Errorf("mount %s has propagation %s, want private", m.point, m.propagation)
		}
	}
	for _, h := range hierarchies() {
		if h.root != nil {
			t.Errorf("hierarchy %s", h.point)
		}
	}
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if path := strings.TrimSpace(strings.SplitN(line, ":", 3)[2]); path != "/" && path != "/"+testsLeaf {
			t.Errorf("cgroup %q, want the root of a cgroup namespace", line)
		}
	}
}
