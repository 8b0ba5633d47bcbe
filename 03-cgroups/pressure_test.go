//go:build linux

package cgroups_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// pressed makes a cgroup whose one task wants four times the CPU that it gets.
func pressed(t *testing.T, name string) *cgroups.Cgroup {
	t.Helper()
	hosttest.Require(t, hosttest.Root)
	c := create(t, name, &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(5000)), Period: ptr(uint64(20000))}})
	if _, err := c.Pressure(cgroups.CPU); errdefs.IsFailedPrecondition(err) {
		t.Skipf("requires a kernel that measures pressure in this cgroup: %v", err)
	}
	start(t, c, "spin")
	return c
}

func TestPressureWakes(t *testing.T) {
	c := pressed(t, "pressure-wakes")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.AwaitPressure(ctx, cgroups.CPU, 100*time.Millisecond, 2*time.Second); err != nil {
		t.Error(err)
	}
	p, err := c.Pressure(cgroups.CPU)
	if err != nil || p.Some.Total < 100*time.Millisecond {
		t.Errorf("woken by %+v, %v", p, err)
	}
}

func TestPressureThatDoesNotCome(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	c := create(t, "pressure-none", nil)
	if _, err := c.Pressure(cgroups.Memory); errdefs.IsFailedPrecondition(err) {
		t.Skipf("requires a kernel that measures pressure in this cgroup: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if err := c.AwaitPressure(ctx, cgroups.Memory, 100*time.Millisecond, 2*time.Second); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	err := c.AwaitPressure(t.Context(), cgroups.Memory, 3*time.Second, 2*time.Second)
	if !errdefs.IsInvalidArgument(err) || !strings.HasPrefix(err.Error(), "write some 3000000 2000000 to /sys/fs/cgroup/") {
		t.Errorf("a stall longer than its window: %v", err)
	}
	done := make(chan error)
	go func() { done <- c.AwaitPressure(t.Context(), cgroups.Memory, 100*time.Millisecond, 2*time.Second) }()
	if err := c.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errdefs.IsNotFound(err) {
		t.Errorf("the cgroup is gone: %v", err)
	}
}
