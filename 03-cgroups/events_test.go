//go:build linux

package cgroups_test

import (
	"context"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// next returns the first event of a kind, and fails the test when none comes.
func next(t *testing.T, events <-chan cgroups.Event, kind cgroups.EventKind) cgroups.Event {
	t.Helper()
	var others []cgroups.EventKind
	for late := time.After(time.Minute); ; {
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatalf("the events ended without %q, after %q", kind, others)
			}
			if e.Kind == kind {
				return e
			}
			others = append(others, e.Kind)
		case <-late:
			t.Fatalf("no event %q, but %q", kind, others)
		}
	}
}

func watch(t *testing.T, c *cgroups.Cgroup) <-chan cgroups.Event {
	t.Helper()
	events, err := c.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func TestEventOfTheOOMKiller(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	const limit = 32 << 20
	c := create(t, "event-oom", &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(limit)), Swap: ptr(int64(limit))}})
	events := watch(t, c)
	start(t, c, "hog")
	if e := next(t, events, cgroups.OOM); e.Count == 0 {
		t.Errorf("%+v", e)
	}
	if hosttest.CgroupV2() == nil {
		if e := next(t, events, cgroups.OOMKill); e.Count != 1 {
			t.Errorf("%+v", e)
		}
	}
}

func TestEventOfARefusedFork(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.CgroupV2)
	c := create(t, "event-pids", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(20))}})
	events := watch(t, c)
	start(t, c, "fork")
	next(t, events, cgroups.ForkRefused)
}

func TestEventsOfALife(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	c := create(t, "event-life", nil)
	if _, v2 := c.Paths()[""]; !v2 {
		t.Skip("requires a mounted cgroup v2 hierarchy: v1 does not tell who comes and goes")
	}
	events := watch(t, c)
	p := start(t, c, "sleep")
	next(t, events, cgroups.Populated)
	if err := c.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	next(t, events, cgroups.Frozen)
	if err := c.Thaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	next(t, events, cgroups.Thawed)
	p.end()
	next(t, events, cgroups.Empty)
	if err := c.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	for e := range events {
		t.Errorf("after the end: %+v", e)
	}
}

func TestEventsEndWithTheirContext(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	c := create(t, "event-end", nil)
	ctx, cancel := context.WithCancel(t.Context())
	events, err := c.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for e := range events {
		t.Errorf("%+v", e)
	}
	// Of what was registered nothing is left to fail on, either.
	if err := c.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	events, err = c.Events(t.Context())
	if !errdefs.IsNotFound(err) {
		t.Errorf("events of a cgroup that is gone: %v", err)
	}
	for e := range events {
		t.Errorf("%+v", e)
	}
}

func TestEventOfMemoryHigh(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.CgroupV2)
	c := create(t, "event-high", &specs.LinuxResources{Unified: map[string]string{"memory.high": "8388608", "memory.swap.max": "0"}})
	events := watch(t, c)
	start(t, c, "hog")
	next(t, events, cgroups.MemoryHigh)
	// It is slowed down, and not killed.
	if n, err := c.OOMKills(); err != nil || n != 0 {
		t.Errorf("OOMKills: %d, %v", n, err)
	}
}
