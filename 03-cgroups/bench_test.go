//go:build linux

package cgroups_test

import (
	"os/exec"
	"strconv"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// BenchmarkStart compares the ways into a cgroup: each round makes a cgroup with
// three limits, starts true in it, waits for its end and removes the cgroup.
// "outside" is true without any, "empty" the cgroup without a process. Between
// two rounds it is quiet for a while: the wait that [cgroups.Cgroup.Spawn] avoids
// is not there for somebody who has just waited.
func BenchmarkStart(b *testing.B) {
	hosttest.Require(b, hosttest.Root)
	limits := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20))},
		CPU:    &specs.LinuxCPU{Quota: ptr(int64(50000))},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(64))},
	}
	quiet := func(b *testing.B) {
		b.StopTimer()
		time.Sleep(50 * time.Millisecond)
		b.StartTimer()
	}
	for name, start := range map[string]func(*cgroups.Cgroup, *exec.Cmd) error{
		"spawn": func(c *cgroups.Cgroup, cmd *exec.Cmd) error { return c.StartCommand(b.Context(), cmd) },
		"enter": func(c *cgroups.Cgroup, cmd *exec.Cmd) error {
			err := cmd.Start()
			if err == nil {
				err = c.Enter(b.Context(), cmd.Process.Pid)
			}
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				quiet(b)
				c, err := cgroups.Create(b.Context(), hosttest.Cgroup()+"/bench-"+name+strconv.Itoa(i), limits)
				if err != nil {
					b.Fatal(err)
				}
				cmd := exec.Command("/bin/true")
				if err := start(c, cmd); err != nil {
					b.Fatal(err)
				}
				if err := cmd.Wait(); err != nil {
					b.Fatal(err)
				}
				if err := c.Delete(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("outside", func(b *testing.B) {
		for b.Loop() {
			quiet(b)
			if err := exec.Command("/bin/true").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("empty", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			quiet(b)
			c, err := cgroups.Create(b.Context(), hosttest.Cgroup()+"/bench-empty"+strconv.Itoa(i), limits)
			if err != nil {
				b.Fatal(err)
			}
			if err := c.Delete(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
