//go:build linux

package cgroups

import (
	"context"
	"fmt"
	"time"

	"drydock.example/03-cgroups/cgroupfs"
	"github.com/containerd/errdefs"
)

// Resource is something that tasks wait for: "cpu", "memory" or "io".
type Resource string

const (
	CPU    Resource = "cpu"
	Memory Resource = "memory"
	IO     Resource = "io"
)

// Pressure is the time that tasks lost by waiting for a resource; see its
// fields.
type Pressure = cgroupfs.Pressure

// Pressure returns what the cgroup's tasks lost by waiting for a resource. It
// is measured by v2, for all three resources and without any controller, so a
// hybrid host has it too; on v1 alone the error is of kind FailedPrecondition.
func (c *Cgroup) Pressure(r Resource) (Pressure, error) {
	path, err := c.pressureFile(r)
	if err != nil {
		return Pressure{}, err
	}
	return cgroupfs.ReadPressure(path)
}

// AwaitPressure returns when the cgroup's tasks were stalled for a time within
// a window (500ms to 10s), or when ctx ends. Errors: InvalidArgument (times that
// the kernel refuses), NotFound (the cgroup was removed), and those of Pressure.
func (c *Cgroup) AwaitPressure(ctx context.Context, r Resource, stall, window time.Duration) error {
	path, err := c.pressureFile(r)
	if err != nil {
		return err
	}
	return cgroupfs.AwaitPressure(ctx, path, stall, window)
}

func (c *Cgroup) pressureFile(r Resource) (string, error) {
	if c.v2 == nil {
		return "", errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("cgroup v1 measures no pressure, and no v2 hierarchy has this cgroup: /proc/pressure/%s has the whole machine's", r))
	}
	return c.v2.Path() + "/" + string(r) + ".pressure", nil
}

// MachinePressure is the pressure on the whole machine (/proc/pressure).
func MachinePressure(r Resource) (Pressure, error) {
	return cgroupfs.ReadPressure("/proc/pressure/" + string(r))
}
