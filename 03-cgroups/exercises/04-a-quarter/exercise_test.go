//go:build linux && (exercise || solution)

package aquarter

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestThrottle(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	cgroup, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/quarter", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		cgroup.Kill(context.Background())
		cgroup.Delete(context.Background())
	}()
	dir, v1 := cgroup.Paths()["cpu"]
	if !v1 {
		dir = cgroup.Paths()[""]
	}
	const period = 20 * time.Millisecond
	if err := Throttle(dir, 0.25, period); err != nil {
		t.Fatalf("Throttle: %v", err)
	}
	read := func(file string) string {
		b, err := os.ReadFile(dir + "/" + file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	got := ""
	if v1 {
		got = read("cpu.cfs_quota_us") + " " + read("cpu.cfs_period_us")
	} else {
		got = read("cpu.max")
	}
	if got != "5000 20000" {
		t.Errorf("quota and period are %s, want 5000 20000: are both in microseconds, and is the quota a part of the period?", got)
	}

	// One loop that would take a whole CPU. Its cgroup comes before all others: who
	// gets less than a quarter, as on a busy machine, is never throttled.
	parent, err := cgroups.Load(hosttest.Cgroup())
	if err != nil {
		t.Fatal(err)
	}
	shares := func(n uint64) *specs.LinuxResources { return &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: &n}} }
	const most, usual = 262144, 1024
	defer parent.Set(context.Background(), shares(usual))
	for _, c := range []*cgroups.Cgroup{parent, cgroup} {
		if err := c.Set(t.Context(), shares(most)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/bin/sh", "-c", "while :; do :; done")
	if err := cgroup.StartCommand(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for range time.Tick(period) {
		stats, err := cgroup.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if stats.CPU.Throttled >= 3 {
			return
		}
		if stats.CPU.Usage > time.Second {
			t.Fatalf("after %v of CPU it was throttled in %d of %d periods: does the limit stand in this cgroup?", stats.CPU.Usage, stats.CPU.Throttled, stats.CPU.Periods)
		}
	}
}
