//go:build linux

package oci

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Update changes the limits of a container that has not stopped. What r does
// not give stays as it is; schemata, unless nil, are lines for Intel RDT.
func (r Runtime) Update(ctx context.Context, id string, resources *specs.LinuxResources, schemata *specs.LinuxIntelRdt) error {
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
	if schemata != nil {
		if c.RDT == nil {
			return fmt.Errorf("--l3-cache-schema, --mem-bw-schema: the container has no class of Intel RDT: give it linux.intelRdt when it is created: %w", errdefs.ErrFailedPrecondition)
		}
		if err := c.RDT.set(ctx, schemata); err != nil {
			return err
		}
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
	r.knownAccess(resources)
	return g.Set(ctx, resources)
}
