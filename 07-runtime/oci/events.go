//go:build linux

package oci

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	cgroups "drydock.example/03-cgroups"
)

// An Event is what the events command prints.
type Event struct {
	Type string `json:"type"` // "stats" or "oom"
	ID   string `json:"id"`
	Data *Stats `json:"data,omitempty"`
}

// Stats returns what the container has used so far.
func (r Runtime) Stats(id string) (Event, error) {
	g, c, err := r.observed(id)
	if err != nil {
		return Event{}, err
	}
	return c.stats(g)
}

func (c *container) stats(g *cgroups.Cgroup) (Event, error) {
	s, err := g.Stats()
	if err != nil {
		return Event{}, err
	}
	e := Event{Type: "stats", ID: c.ID, Data: newStats(s)}
	for resource, into := range map[cgroups.Resource]**PressureStats{
		cgroups.CPU: &e.Data.CPU.PSI, cgroups.Memory: &e.Data.Memory.PSI, cgroups.IO: &e.Data.BlkIO.PSI,
	} {
		if *into, err = pressure(g, resource); err != nil {
			return Event{}, err
		}
	}
	if c.RDT != nil {
		e.Data.RDT.Class = filepath.Base(c.RDT.Class)
	}
	return e, nil
}

// observed finds the cgroup of a container that has not stopped.
func (r Runtime) observed(id string) (*cgroups.Cgroup, *container, error) {
	c, err := r.look(id)
	if err != nil {
		return nil, nil, err
	}
	if c.status() == specs.StateStopped {
		return nil, nil, fmt.Errorf("container with id %s is not running: %w", id, errdefs.ErrFailedPrecondition)
	}
	g, err := c.cgroup()
	return g, c, err
}

// Events calls show with the container's statistics once in each interval, and
// when its memory limit is reached, until it has stopped or ctx ends.
func (r Runtime) Events(ctx context.Context, id string, interval time.Duration, show func(Event) error) error {
	g, c, err := r.observed(id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended, err := c.exit(ctx)
	if err != nil {
		return err
	}
	kills, err := g.OOMKills()
	if err != nil {
		return err
	}
	happened, err := g.Events(ctx)
	if err != nil {
		return err
	}
	defer func() {
		cancel()
		for range happened {
		}
		<-ended
	}()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for shown := false; ; {
		select {
		case <-tick.C:
			s, err := c.stats(g)
			if err == nil {
				err = show(s)
			}
			if err != nil {
				return err
			}
		case e, ok := <-happened:
			if !ok {
				return nil
			}
			if e.Kind == cgroups.OOM {
				if err := show(Event{Type: "oom", ID: id}); err != nil {
					return err
				}
				shown = true
			}
		case <-ended:
			// The end may come before the notification of what caused it.
			if now, err := g.OOMKills(); err == nil && now > kills && !shown {
				return show(Event{Type: "oom", ID: id})
			}
			return nil
		}
	}
}

// exit returns a channel that is closed when the first process has ended, or
// ctx.
func (c *container) exit(ctx context.Context) (<-chan struct{}, error) {
	fd, err := c.open()
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl(O_NONBLOCK)", err)
	}
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	conn, err := pidfd.SyscallConn()
	if err != nil {
		pidfd.Close()
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { pidfd.SetReadDeadline(time.Unix(1, 0)) })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer pidfd.Close()
		defer stop()
		// A pidfd is readable from its process's end on; until then Go's poller sleeps on it.
		conn.Read(func(fd uintptr) bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
	}()
	return ended, nil
}
