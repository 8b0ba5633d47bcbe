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
		{Path: c.dir + "/memory.events", Counters: []cgroupfs.Counter{
			{Key: "high", Kind: cgroupfs.MemoryHigh}, {Key: "oom", Kind: cgroupfs.OOM}, {Key: "oom_kill", Kind: cgroupfs.OOMKill},
		}},
		{Path: c.dir + "/pids.events", Counters: []cgroupfs.Counter{{Key: "max", Kind: cgroupfs.ForkRefused}}},
	})
}
