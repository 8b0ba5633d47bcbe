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
	// Some kernels put tunnels such as sit0 into every namespace, down.
	for _, l := range links {
		if up := l.Flags&net.FlagUp != 0; up != (l.Name == "lo") {
			t.Errorf("link %s: up is %v, want lo alone up", l.Name, up)
		}
	}
	for _, m := range mounts() {
		if m.propagation != "" {
			t.Errorf("mount %s has propagation %s, want private", m.point, m.propagation)
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
