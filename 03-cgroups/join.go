//go:build linux

package cgroups

import (
	"context"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Join is Create for a cgroup that a service manager has made at path, with the
// process pid in it: what is missing is made, in the hierarchies that the
// manager does not use, the process is moved there too, and the limits are set.
// Where that fails what was made here is removed; the rest is the manager's.
func Join(ctx context.Context, path string, r *specs.LinuxResources, pid int) (_ *Cgroup, err error) {
	if err := check(r); err != nil {
		return nil, err
	}
	r, _ = startable(r)
	c, err := locate(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.unmake(context.WithoutCancel(ctx))
		}
	}()
	if c.v1 != nil {
		if err := c.v1.Complete(ctx); err != nil {
			return nil, err
		}
	}
	if c.v2 != nil {
		controllers, err := c.wanted(r)
		if err != nil {
			return nil, err
		}
		if err := c.v2.Make(ctx, controllers); err != nil && !errdefs.IsAlreadyExists(err) {
			return nil, err
		}
	}
	if err := c.Enter(ctx, pid); err != nil {
		return nil, err
	}
	if err := c.set(ctx, r); err != nil {
		return nil, err
	}
	return c, nil
}
