//go:build linux

package oci

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	cgroups "drydock.example/03-cgroups"
)

// StatePaused is a state that the specification leaves to the runtimes: all
// processes of the container stand still.
const StatePaused specs.ContainerState = "paused"

// Pause stops every process of a container where it is. One that is paused is
// not running: who pauses it twice would resume it once, for somebody else too.
func (r Runtime) Pause(ctx context.Context, id string) error {
	c, err := r.hold(id)
	if c != nil {
		defer c.release()
	}
	if err != nil {
		return err
	}
	switch c.status() {
	case specs.StateRunning, specs.StateCreated:
	default:
		return ErrNotRunning
	}
	g, err := c.cgroup()
	if err != nil {
		return err
	}
	return g.Freeze(ctx)
}

// Resume lets the processes of a paused container go on.
func (r Runtime) Resume(ctx context.Context, id string) error {
	c, err := r.hold(id)
	if c != nil {
		defer c.release()
	}
	if err != nil {
		return err
	}
	if c.status() != StatePaused {
		return ErrNotPaused
	}
	g, err := c.cgroup()
	if err != nil {
		return err
	}
	return g.Thaw(ctx)
}

// cgroup finds the container's cgroup.
func (c *container) cgroup() (*cgroups.Cgroup, error) {
	if !c.CgroupMade {
		return nil, fmt.Errorf("container %s has no cgroup of its own: %w", c.ID, errdefs.ErrFailedPrecondition)
	}
	return cgroups.Load(c.Cgroup)
}

// paused asks the kernel whether the processes stand still.
func (c *container) paused() bool {
	g, err := c.cgroup()
	if err != nil {
		return false
	}
	frozen, err := g.Frozen()
	return err == nil && frozen
}

// thaw lets a paused container's processes go on, so that they can die: v1's
// freezer keeps even a killed process.
func (c *container) thaw(ctx context.Context) error {
	g, err := c.cgroup()
	if err != nil {
		return nil
	}
	if frozen, err := g.Frozen(); err != nil || !frozen {
		return nil
	}
	return g.Thaw(ctx)
}
