//go:build linux

package cgroups

import (
	"context"

	"github.com/containerd/errdefs"
)

// Delegate hands the cgroup to a user, who then makes cgroups below it without
// root; the cgroup's own limits stay out of his reach. On v1 the error is of
// kind FailedPrecondition: there a user who may write to a cgroup's directory
// lifts its limits as well.
func (c *Cgroup) Delegate(ctx context.Context, uid, gid int) error {
	if c.v1 != nil {
		return errdefs.ErrFailedPrecondition.WithMessage("cgroup v1 cannot be delegated safely: who may make cgroups below could also lift the limits; boot with cgroup v2")
	}
	return c.v2.Delegate(ctx, uid, gid)
}
