//go:build linux

package v2

import (
	"context"

	"drydock.example/03-cgroups/cgroupfs"
)

// Notify watches the files in which v2 counts events; see [cgroupfs.Notify].
func (c *Cgroup) Notify(ctx context.Context) (run func(send func(cgroupfs.Event) bool), err error) {
	return cgroupfs.Notify(ctx, c.dir, []cgroupfs.Watched{
		{Path: c.dir + "/cgroup.events", States: map[string][2]cgroupfs.EventKind{
			"populated": {cgroupfs.Empty, cgroupfs.Populated},
			"frozen":    {cgroupfs.Thawed, cgroupfs.Frozen},
		}},
		{Path: c.dir + "/memory.events", Counters: map[string]cgroupfs.EventKind{
			"oom": cgroupfs.OOM, "oom_kill": cgroupfs.OOMKill, "high": cgroupfs.MemoryHigh,
		}},
		{Path: c.dir + "/pids.events", Counters: map[string]cgroupfs.EventKind{"max": cgroupfs.ForkRefused}},
	})
}
