//go:build linux

package cgroups

import (
	"context"

	"github.com/containerd/errdefs"
)

// Delegate hands the cgroup to a user, who then makes cgroups below it without
// root; the cgroup's own limits stay out of his reach. On v1 the error is of
// kind FailedPrecondition: some limits do not hold for the cgroups below (those
// of I/O, the network class), and a user may bring in his processes from anywhere.
func (c *Cgroup) Delegate(ctx context.Context, uid, gid int) error {
	if c.v1 != nil {
		return errdefs.ErrFailedPrecondition.WithMessage("cgroup v1 cannot be delegated safely: limits of I/O do not hold for cgroups below, and processes may come from anywhere: boot with cgroup v2")
	}
	return c.v2.Delegate(ctx, uid, gid)
}
