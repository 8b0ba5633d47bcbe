//go:build linux

package oci

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	cgroups "drydock.example/03-cgroups"
	"drydock.example/07-runtime/oci/systemd"
)

// nameUnit decides which unit systemd will make for the container, and where
// its cgroup will be.
func (c *container) nameUnit(ctx context.Context, spec *specs.Spec, user bool) error {
	if !systemd.Running() {
		return fmt.Errorf("--systemd-cgroup: systemd not running on this host, cannot use systemd cgroups manager: leave the option out: %w", errdefs.ErrFailedPrecondition)
	}
	u, err := systemd.Parse(spec.Linux.CgroupsPath, c.ID, user)
	if err != nil {
		return err
	}
	c.Unit = &u
	c.Cgroup, err = u.Cgroup(ctx)
	return err
}

// startUnit has systemd make the cgroup around the process.
func (c *container) startUnit(ctx context.Context, spec *specs.Spec, pid int) (*cgroups.Cgroup, error) {
	properties, err := systemd.Annotated(spec.Annotations)
	if err != nil {
		return nil, err
	}
	limits, err := unitLimits(spec.Linux.Resources)
	if err != nil {
		return nil, err
	}
	if err := c.Unit.Start(ctx, pid, append(limits, properties...)); err != nil {
		return nil, err
	}
	g, err := cgroups.Join(ctx, c.Cgroup, spec.Linux.Resources, pid)
	if err != nil {
		return nil, err
	}
	c.CgroupMade = true
	return g, nil
}

// unitLimits are the properties for the limits, in the words of the cgroup
// version that counts here.
func unitLimits(r *specs.LinuxResources) ([]systemd.Property, error) {
	mode, err := cgroups.Detect()
	return systemd.Limits(r, mode == cgroups.V2), err
}

// stopUnit has systemd forget the container.
func (c *container) stopUnit(ctx context.Context) error {
	if c.Unit == nil {
		return nil
	}
	return c.Unit.Stop(ctx)
}
