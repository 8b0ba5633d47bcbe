//go:build linux

package v1

import (
	"context"

	"drydock.example/03-cgroups/cgroupfs"
)

// Notify watches what v1 has an event for: the memory limit. The result is as
// [cgroupfs.Notify]'s; nil where there is no memory controller.
func (c *Cgroup) Notify(ctx context.Context) (run func(send func(cgroupfs.Event) bool), err error) {
	dir, err := c.dir("memory")
	if err != nil {
		return nil, nil
	}
	return cgroupfs.NotifyEventfd(ctx, dir, "memory.oom_control", cgroupfs.OOM, "tell this eventfd when the memory limit leaves nothing to reclaim")
}
