//go:build linux && (exercise || solution)

package nobodyescapes

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

// family is a shell's eight children. They do not fork; the test asks whether
// they could have.
const family = `for i in 1 2 3 4 5 6 7 8; do sleep 60 & done`

func TestKillAll(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	cgroup, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/escape", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		// What the exercise leaves alive must not outlive the test.
		cgroup.Kill(context.Background())
		cgroup.Delete(context.Background())
	}()
	dir, ok := cgroup.Paths()[""]
	if !ok {
		t.Skip("requires a mounted cgroup v2 hierarchy")
	}
	cmd := exec.Command("/bin/sh", "-c", family)
	if err := cgroup.StartCommand(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	// Whoever is killed while it can still fork may have done so after the list
	// was read: by chance it works most of the time. The first must find all
	// frozen; after that the cgroup counts as such only when the last one has
	// died, and those that live are held as long as the wish stands.
	running, killed := 0, 0
	kill := func(pid int) error {
		file, held := "/cgroup.freeze", "1\n"
		if killed++; killed == 1 {
			file, held = "/cgroup.events", "frozen 1\n"
		}
		state, err := os.ReadFile(dir + file)
		if err == nil && !strings.Contains(string(state), held) {
			running++
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
			return err
		}
		return nil
	}
	if err := KillAll(dir, kill); err != nil {
		t.Fatalf("KillAll: %v", err)
	}
	if running > 0 {
		t.Errorf("%d processes were killed while they could still fork: what stops them all, before you read the list?", running)
	}
	// Delete returns as soon as the cgroup is empty, and here never else.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := cgroup.Delete(ctx); err != nil {
		t.Errorf("some live on: were they forked after you read the list, or are they still frozen?\n%v", err)
	}
}
