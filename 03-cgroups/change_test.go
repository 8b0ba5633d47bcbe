//go:build linux

package cgroups_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// The kernel holds the burst against the quota at each write of either, so
// neither order of the two is right for both directions.
func TestQuotaAndBurstGoUpAndDownTogether(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	both := func(quota int64, burst uint64) *specs.LinuxResources {
		return &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: &quota, Burst: &burst}}
	}
	c, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/burst", both(50000, 40000))
	if errdefs.IsNotFound(err) {
		t.Skipf("requires Linux 5.14: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, c) })
	for _, want := range []struct {
		quota int64
		burst uint64
	}{{20000, 10000}, {90000, 80000}, {-1, 0}, {20000, 20000}} {
		if err := c.Set(t.Context(), both(want.quota, want.burst)); err != nil {
			t.Errorf("quota %d, burst %d: %v", want.quota, want.burst, err)
		}
	}
}

// Memory and swap together may not be below memory alone: who lifts the limit
// of memory lifts both.
func TestAMemoryLimitIsLifted(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	memory := func(limit, swap int64) *specs.LinuxResources {
		m := &specs.LinuxMemory{Limit: &limit}
		if swap != 0 {
			m.Swap = &swap
		}
		return &specs.LinuxResources{Memory: m}
	}
	c := create(t, "lifted", memory(64<<20, 64<<20))
	if err := c.Set(t.Context(), memory(-1, 100<<20)); !errdefs.IsInvalidArgument(err) || !strings.HasPrefix(err.Error(), "memory+swap limit 104857600 without a memory limit") {
		t.Errorf("a limit of both without one of memory: %v", err)
	}
	if err := c.Set(t.Context(), memory(-1, 0)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Stats()
	if err != nil || s.Memory.Limit != cgroups.NoLimit {
		t.Errorf("limit %d, %v, want none", s.Memory.Limit, err)
	}
}

// The last container's parent goes while the next one begins.
func TestAParentThatGoesMeanwhileIsMadeAgain(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	parent := hosttest.Cgroup() + "/meanwhile"
	t.Cleanup(func() { _ = cgroups.RemoveEmpty(context.Background(), parent) }) // what the remover was too late for
	ctx, cancel := context.WithCancel(t.Context())
	var remover sync.WaitGroup
	remover.Go(func() {
		for ctx.Err() == nil {
			if err := cgroups.RemoveEmpty(t.Context(), parent); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer remover.Wait()
	defer cancel()
	for range 50 {
		c, err := cgroups.Create(t.Context(), parent+"/box", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
