//go:build linux

package cgroups

import (
	"context"
	"sync"

	"drydock.example/03-cgroups/cgroupfs"
)

// Event is something that happened in a cgroup; see its kinds.
type Event = cgroupfs.Event

// EventKind is what happened.
type EventKind = cgroupfs.EventKind

// Kinds of events. v1 alone tells OOM and no other.
const (
	OOM         = cgroupfs.OOM
	OOMKill     = cgroupfs.OOMKill
	MemoryHigh  = cgroupfs.MemoryHigh
	ForkRefused = cgroupfs.ForkRefused
	Frozen      = cgroupfs.Frozen
	Thawed      = cgroupfs.Thawed
	Populated   = cgroupfs.Populated
	Empty       = cgroupfs.Empty
)

// Events returns what happens in the cgroup from now on. Nothing is asked on a
// timer: the kernel announces each change, by inotify(7) of the files on v2, by
// an eventfd(2) for v1's memory limit. A receiver that is slow finds events of
// one kind added up. The channel is closed when ctx ends or the cgroup is
// removed; whoever stops to receive must end ctx.
func (c *Cgroup) Events(ctx context.Context) (<-chan Event, error) {
	// What was registered before an error is taken back by running it to its end.
	ctx, cancel := context.WithCancel(ctx)
	var runs []func(func(Event) bool)
	var err error
	add := func(notify func(context.Context) (func(func(Event) bool), error)) {
		if err != nil {
			return
		}
		var run func(func(Event) bool)
		if run, err = notify(ctx); run != nil {
			runs = append(runs, run)
		}
	}
	if c.v1 != nil {
		add(c.v1.Notify)
	}
	if c.v2 != nil {
		add(c.v2.Notify)
	}
	if err != nil {
		cancel()
	}
	events := make(chan Event)
	send := func(e Event) bool {
		select {
		case events <- e:
			return true
		case <-ctx.Done():
			return false
		}
	}
	var all sync.WaitGroup
	for _, run := range runs {
		all.Go(func() { run(send) })
	}
	go func() {
		all.Wait()
		cancel()
		close(events)
	}()
	return events, err
}
