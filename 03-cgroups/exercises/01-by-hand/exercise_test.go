//go:build linux && (exercise || solution)

package byhand

import (
	"os"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestRun(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	// A parent, made with the chapter's package, tells where the controller is.
	parent, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/by-hand/parent", nil)
	if err != nil {
		t.Fatal(err)
	}
	above, err := cgroups.Load(hosttest.Cgroup() + "/by-hand")
	if err != nil {
		t.Fatal(err)
	}
	defer above.Delete(t.Context())
	place, ok := parent.Paths()["pids"]
	if !ok {
		place = parent.Paths()[""]
	}
	dir := strings.TrimSuffix(place, "parent") + "exercise"

	out, err := Run(dir, 5, "/bin/sh", "-c", "cat /proc/self/cgroup; cat "+dir+"/pids.max")
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	if !strings.Contains(out, "/by-hand/exercise\n") {
		t.Errorf("the program was not in the cgroup: was its number written to cgroup.procs, and before it began?\n%s", out)
	}
	if !strings.HasSuffix(out, "\n5\n") {
		t.Errorf("pids.max is not 5 while the program runs:\n%s", out)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the cgroup is still there: it can be removed once the last process has been waited for")
		os.Remove(dir)
	}
}
