//go:build linux

package oci

import (
	"context"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Update changes the limits of a container that has not stopped. What r does
// not give stays as it is.
func (r Runtime) Update(ctx context.Context, id string, resources *specs.LinuxResources) error {
	c, err := r.hold(id)
	if c != nil {
		defer c.release()
	}
	if err != nil {
		return err
	}
	if c.status() == specs.StateStopped {
		return ErrNotRunning
	}
	g, err := c.cgroup()
	if err != nil {
		return err
	}
	if c.Unit != nil {
		properties, err := unitLimits(resources)
		if err == nil {
			err = c.Unit.Set(ctx, properties)
		}
		if err != nil {
			return err
		}
	}
	return g.Set(ctx, resources)
}
