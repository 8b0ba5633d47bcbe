//go:build linux

package v1

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"drydock.example/03-cgroups/cgroupfs"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Set writes the limits that r gives and leaves the others as they are. A limit
// whose controller has no hierarchy is an error of kind FailedPrecondition.
func (c *Cgroup) Set(ctx context.Context, r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	for _, set := range []func(context.Context, *specs.LinuxResources) error{
		c.setMemory, c.setCPU, c.setCpuset, c.setPids, c.setBlockIO, c.setHugepages, c.setNetwork, c.setRdma, c.setDevices,
	} {
		if err := set(ctx, r); err != nil {
			return err
		}
	}
	if len(r.Unified) > 0 {
		return errdefs.ErrFailedPrecondition.WithMessage("unified keys name files of cgroup v2, and this host has its controllers on v1: use the specification's own fields")
	}
	return nil
}

// write is [cgroupfs.Write] to the file's controller's directory; the name of
// a file begins with its controller's.
func (c *Cgroup) write(ctx context.Context, file, value, why string) error {
	controller, _, _ := strings.Cut(file, ".")
	dir, err := c.dir(controller)
	if err != nil {
		return err
	}
	return cgroupfs.Write(ctx, dir+"/"+file, value, why)
}

// number is the text of a field that is set; 0 and a missing field are not.
func number[T int64 | uint64 | uint32 | uint16](p *T) string {
	if p == nil || *p == 0 {
		return ""
	}
	return fmt.Sprint(*p)
}

// writeIf writes a value that is set.
func (c *Cgroup) writeIf(ctx context.Context, file, value, why string) error {
	if value == "" {
		return nil
	}
	return c.write(ctx, file, value, why)
}

func (c *Cgroup) setMemory(ctx context.Context, r *specs.LinuxResources) error {
	m := r.Memory
	if m == nil {
		return nil
	}
	limit, swap := number(m.Limit), number(m.Swap)
	if limit == "-1" && swap == "" {
		swap = limit // or it would stay above what both together may have
	}
	setLimit := func() error {
		return c.writeIf(ctx, "memory.limit_in_bytes", limit, "more memory than this ends in the OOM killer")
	}
	setSwap := func() error {
		err := c.writeIf(ctx, "memory.memsw.limit_in_bytes", swap, "memory and swap together")
		if errors.Is(err, fs.ErrNotExist) {
			if m.Swap == nil {
				return nil
			}
			return fmt.Errorf("%w: this kernel does not count swap: boot it with swapaccount=1, or leave the memory+swap limit out", err)
		}
		return err
	}
	// The limit may never be above memory+swap, so which of the two goes first
	// depends on what is there: down, the limit does; up, it is refused
	// (EINVAL) until the other has made room.
	err := setLimit()
	if errors.Is(err, unix.EINVAL) && swap != "" {
		if err := setSwap(); err != nil {
			return err
		}
		err = setLimit()
	} else if err == nil {
		err = setSwap()
	}
	if err != nil {
		return err
	}
	if err := c.writeIf(ctx, "memory.soft_limit_in_bytes", number(m.Reservation), "this much is reclaimed from others first"); err != nil {
		return err
	}
	if err := c.writeIf(ctx, "memory.kmem.tcp.limit_in_bytes", number(m.KernelTCP), "memory for TCP buffers"); err != nil {
		return err
	}
	if m.Swappiness != nil {
		if err := c.write(ctx, "memory.swappiness", strconv.FormatUint(*m.Swappiness, 10), "0 to 100: how willingly its pages are swapped"); err != nil {
			return err
		}
	}
	if m.DisableOOMKiller != nil && *m.DisableOOMKiller {
		return c.write(ctx, "memory.oom_control", "1", "at the limit its processes wait instead of being killed")
	}
	return nil
}

func (c *Cgroup) setCPU(ctx context.Context, r *specs.LinuxResources) error {
	cpu := r.CPU
	if cpu == nil {
		return nil
	}
	if cpu.Idle != nil {
		if err := c.write(ctx, "cpu.idle", strconv.FormatInt(*cpu.Idle, 10), "1 makes it run only when nobody else wants to"); err != nil {
			return err
		}
	}
	if err := c.writeIf(ctx, "cpu.shares", number(cpu.Shares), "its share when CPUs are short"); err != nil {
		return err
	}
	setBurst := func() error {
		if cpu.Burst == nil {
			return nil
		}
		return c.write(ctx, "cpu.cfs_burst_us", strconv.FormatUint(*cpu.Burst, 10), "unused quota that it may save up")
	}
	// The burst may never be above the quota. On the way down it goes first; up, it
	// is refused until the quota has made room.
	burst := setBurst()
	if burst != nil && !errors.Is(burst, unix.EINVAL) {
		return burst
	}
	setPeriod := func() error {
		return c.writeIf(ctx, "cpu.cfs_period_us", number(cpu.Period), "the period of the quota, in microseconds")
	}
	// Two files, of which each is checked against the other's present value
	// (a child may not get more than its parent): a period that is refused
	// may be right once the new quota is there.
	period := setPeriod()
	if period != nil && !errors.Is(period, unix.EINVAL) {
		return period
	}
	if err := c.writeIf(ctx, "cpu.cfs_quota_us", number(cpu.Quota), "microseconds of CPU in each period"); err != nil {
		return err
	}
	if period != nil {
		if err := setPeriod(); err != nil {
			return err
		}
	}
	if burst != nil {
		if err := setBurst(); err != nil {
			return err
		}
	}
	if err := c.writeIf(ctx, "cpu.rt_period_us", number(cpu.RealtimePeriod), "the period of real-time threads"); err != nil {
		return err
	}
	return c.writeIf(ctx, "cpu.rt_runtime_us", number(cpu.RealtimeRuntime), "CPU for real-time threads in each period")
}

func (c *Cgroup) setCpuset(ctx context.Context, r *specs.LinuxResources) error {
	if r.CPU == nil {
		return nil
	}
	if err := c.writeIf(ctx, "cpuset.cpus", r.CPU.Cpus, "the CPUs that it may run on"); err != nil {
		return err
	}
	return c.writeIf(ctx, "cpuset.mems", r.CPU.Mems, "the memory nodes that it may allocate from")
}

func (c *Cgroup) setPids(ctx context.Context, r *specs.LinuxResources) error {
	if r.Pids == nil || r.Pids.Limit == nil {
		return nil
	}
	limit := "max"
	if *r.Pids.Limit >= 0 {
		limit = strconv.FormatInt(*r.Pids.Limit, 10)
	}
	return c.write(ctx, "pids.max", limit, "fork(2) beyond this many tasks fails with EAGAIN")
}

func (c *Cgroup) setBlockIO(ctx context.Context, r *specs.LinuxResources) error {
	io := r.BlockIO
	if io == nil {
		return nil
	}
	if err := c.setWeight(ctx, "weight", number(io.Weight), "its share when the disk is busy"); err != nil {
		return err
	}
	if err := c.writeIf(ctx, "blkio.leaf_weight", number(io.LeafWeight), "its own share against its children's"); err != nil {
		return err
	}
	for _, d := range io.WeightDevice {
		if weight := number(d.Weight); weight != "" {
			if err := c.setWeight(ctx, "weight_device", fmt.Sprintf("%d:%d %s", d.Major, d.Minor, weight), "its share of this device"); err != nil {
				return err
			}
		}
	}
	for _, throttle := range []struct {
		file    string
		devices []specs.LinuxThrottleDevice
	}{
		{"blkio.throttle.read_bps_device", io.ThrottleReadBpsDevice},
		{"blkio.throttle.write_bps_device", io.ThrottleWriteBpsDevice},
		{"blkio.throttle.read_iops_device", io.ThrottleReadIOPSDevice},
		{"blkio.throttle.write_iops_device", io.ThrottleWriteIOPSDevice},
	} {
		for _, d := range throttle.devices {
			if err := c.write(ctx, throttle.file, fmt.Sprintf("%d:%d %d", d.Major, d.Minor, d.Rate), "bytes or requests a second; 0 is no limit"); err != nil {
				return err
			}
		}
	}
	return nil
}

// setWeight writes to the file of the scheduler that the kernel has: CFQ's
// until 5.0, BFQ's since.
func (c *Cgroup) setWeight(ctx context.Context, file, value, why string) error {
	err := c.writeIf(ctx, "blkio."+file, value, why)
	if errors.Is(err, fs.ErrNotExist) {
		err = c.writeIf(ctx, "blkio.bfq."+file, value, why)
	}
	return err
}

func (c *Cgroup) setHugepages(ctx context.Context, r *specs.LinuxResources) error {
	for _, h := range r.HugepageLimits {
		if err := c.write(ctx, "hugetlb."+h.Pagesize+".limit_in_bytes", strconv.FormatUint(h.Limit, 10), "huge pages, in bytes"); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cgroup) setNetwork(ctx context.Context, r *specs.LinuxResources) error {
	if r.Network == nil {
		return nil
	}
	if err := c.writeIf(ctx, "net_cls.classid", number(r.Network.ClassID), "the class that tc(8) sees on its packets"); err != nil {
		return err
	}
	for _, p := range r.Network.Priorities {
		if err := c.write(ctx, "net_prio.ifpriomap", fmt.Sprintf("%s %d", p.Name, p.Priority), "the priority of its packets on this interface"); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cgroup) setRdma(ctx context.Context, r *specs.LinuxResources) error {
	for device, l := range r.Rdma {
		value := cgroupfs.RDMALimit(device, l.HcaHandles, l.HcaObjects)
		if err := c.write(ctx, "rdma.max", value, "handles and objects of this adapter"); err != nil {
			return err
		}
	}
	return nil
}

// setDevices writes the rules in their order: each one changes the kernel's
// list, which begins as the parent's (devices.rst).
func (c *Cgroup) setDevices(ctx context.Context, r *specs.LinuxResources) error {
	for _, rule := range r.Devices {
		value, err := deviceRule(rule)
		if err != nil {
			return err
		}
		file, why := "devices.deny", "these devices cannot be opened or made"
		if rule.Allow {
			file, why = "devices.allow", "these devices can"
		}
		if err := c.write(ctx, file, value, why); err != nil {
			return err
		}
	}
	return nil
}

// deviceRule prints a rule as the kernel reads it: "c 1:3 rwm", "a" for all.
func deviceRule(rule specs.LinuxDeviceCgroup) (string, error) {
	if strings.Trim(rule.Access, "rwm") != "" {
		return "", errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("device rule: access %q: only r, w and m are known", rule.Access))
	}
	access := rule.Access
	if access == "" {
		access = "rwm"
	}
	device := func(n *int64) string {
		if n == nil || *n < 0 {
			return "*"
		}
		return strconv.FormatInt(*n, 10)
	}
	switch rule.Type {
	case "a", "":
		// The kernel reads nothing behind an "a": it is all or none.
		if device(rule.Major) != "*" || device(rule.Minor) != "*" || len(access) != 3 {
			return "", errdefs.ErrInvalidArgument.WithMessage("device rule: type a is every device and every access on cgroup v1: give c or b for a part")
		}
		return "a", nil
	case "c", "u":
		return "c " + device(rule.Major) + ":" + device(rule.Minor) + " " + access, nil
	case "b":
		return "b " + device(rule.Major) + ":" + device(rule.Minor) + " " + access, nil
	}
	return "", errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("device rule: type %q is none of a, b, c, u", rule.Type))
}
