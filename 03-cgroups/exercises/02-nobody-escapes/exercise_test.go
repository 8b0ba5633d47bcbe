//go:build linux && (exercise || solution)

package nobodyescapes

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

// Eight families, each of which has one member at a time that forks the next
// and ends.
const families = `f() { f & }; for i in 1 2 3 4 5 6 7 8; do f; done`

func TestKillAll(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	cgroup, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/escape", nil)
	if err != nil {
		t.Fatal(err)
	}
	dir, ok := cgroup.Paths()[""]
	if !ok {
		t.Skip("requires a mounted cgroup v2 hierarchy")
	}
	defer func() {
		// What the exercise leaves alive must not outlive the test.
		cgroup.Kill(context.Background())
		cgroup.Delete(context.Background())
	}()
	cmd := exec.Command("/bin/sh", "-c", families)
	err = cgroup.Spawn(t.Context(), func(into *os.File) error {
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(into.Fd())}
		return cmd.Start()
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if err := KillAll(dir); err != nil {
		t.Errorf("KillAll: %v", err)
	}
	// Delete returns as soon as the cgroup is empty, and here never else.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := cgroup.Delete(ctx); err != nil {
		t.Errorf("some live on: were they forked after you read the list, or are they frozen?\n%v", err)
	}
}
