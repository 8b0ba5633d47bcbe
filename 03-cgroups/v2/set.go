//go:build linux

package v2

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"drydock.example/03-cgroups/cgroupfs"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Set writes the limits that r gives and leaves the others as they are. The
// order is the order of cost: what is refused most often comes first.
func (c *Cgroup) Set(ctx context.Context, r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	for _, set := range []func(context.Context, *specs.LinuxResources) error{
		c.setMemory, c.setCPU, c.setPids, c.setIO, c.setHugepages, c.setRdma, c.setDevices, c.setNetwork, c.setUnified,
	} {
		if err := set(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// Controllers returns the names of the controllers that r's limits need.
func Controllers(r *specs.LinuxResources) []string {
	var names []string
	if r == nil {
		return nil
	}
	if r.Memory != nil {
		names = append(names, "memory")
	}
	if r.CPU != nil {
		names = append(names, "cpu")
		if r.CPU.Cpus != "" || r.CPU.Mems != "" {
			names = append(names, "cpuset")
		}
	}
	if r.Pids != nil {
		names = append(names, "pids")
	}
	if r.BlockIO != nil {
		names = append(names, "io")
	}
	if len(r.HugepageLimits) > 0 {
		names = append(names, "hugetlb")
	}
	if len(r.Rdma) > 0 {
		names = append(names, "rdma")
	}
	for file := range r.Unified {
		if name, _, _ := strings.Cut(file, "."); name != "cgroup" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// write is [cgroupfs.Write] to one of the cgroup's files, with a word on the
// controller when the file is missing.
func (c *Cgroup) write(ctx context.Context, file, value, why string) error {
	err := cgroupfs.Write(ctx, filepath.Join(c.dir, file), value, why)
	if errdefs.IsNotFound(err) {
		controller, _, _ := strings.Cut(file, ".")
		return fmt.Errorf("%w: this cgroup's %s controller does not have the file, or %s/cgroup.subtree_control does not name the controller", err, controller, filepath.Dir(c.dir))
	}
	return err
}

func unsupported(what, cure string) error {
	return errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("cgroup v2 has no %s: %s", what, cure))
}

// limit prints bytes or tasks; what is negative is no limit.
func limit(n int64) string {
	if n < 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

func (c *Cgroup) setMemory(ctx context.Context, r *specs.LinuxResources) error {
	m := r.Memory
	if m == nil {
		return nil
	}
	switch {
	case m.Swappiness != nil:
		return unsupported("swappiness of its own", "memory.swap.max limits swap")
	case m.DisableOOMKiller != nil && *m.DisableOOMKiller:
		return unsupported("way to switch the OOM killer off", "memory.high throttles before the limit is reached")
	case m.KernelTCP != nil && *m.KernelTCP > 0:
		return unsupported("limit for TCP buffers alone", "they count towards memory.max")
	}
	isSet := func(p *int64) bool { return p != nil && *p != 0 }
	if isSet(m.Swap) {
		swap, err := c.swapMax(m)
		if err != nil {
			return err
		}
		if err := c.write(ctx, "memory.swap.max", swap, "what does not fit may move to this much swap"); err != nil {
			return err
		}
	}
	if isSet(m.Limit) {
		if err := c.write(ctx, "memory.max", limit(*m.Limit), "more memory than this ends in the OOM killer"); err != nil {
			return err
		}
	}
	if isSet(m.Reservation) {
		return c.write(ctx, "memory.low", limit(*m.Reservation), "this much is reclaimed from others first")
	}
	return nil
}

// swapMax turns the specification's limit, which counts memory and swap
// together as v1 does, into v2's, which counts swap alone.
func (c *Cgroup) swapMax(m *specs.LinuxMemory) (string, error) {
	if *m.Swap < 0 {
		return "max", nil
	}
	var memory uint64
	if m.Limit != nil && *m.Limit > 0 {
		memory = uint64(*m.Limit)
	} else {
		var err error
		if memory, err = cgroupfs.ReadUint(c.dir + "/memory.max"); err != nil {
			return "", err
		}
	}
	if memory > uint64(*m.Swap) {
		return "", errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("memory+swap limit %d needs a memory limit that is not above it", *m.Swap))
	}
	return strconv.FormatUint(uint64(*m.Swap)-memory, 10), nil
}

// Weight converts the specification's CPU shares (2 to 262144, 1024 by
// default) to cpu.weight (1 to 10000, 100 by default). A line through both
// ranges would turn the default of one into a fifth of the other's; this curve,
// the one that runc and crun agreed on, meets all three points.
func Weight(shares uint64) uint64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

func (c *Cgroup) setCPU(ctx context.Context, r *specs.LinuxResources) error {
	cpu := r.CPU
	if cpu == nil {
		return nil
	}
	if cpu.RealtimeRuntime != nil && *cpu.RealtimeRuntime != 0 || cpu.RealtimePeriod != nil && *cpu.RealtimePeriod != 0 {
		return unsupported("real-time quota", "leave realtimeRuntime and realtimePeriod out")
	}
	if cpu.Idle != nil {
		if err := c.write(ctx, "cpu.idle", strconv.FormatInt(*cpu.Idle, 10), "1 makes it run only when nobody else wants to"); err != nil {
			return err
		}
	}
	if cpu.Shares != nil && *cpu.Shares != 0 {
		if err := c.write(ctx, "cpu.weight", strconv.FormatUint(Weight(*cpu.Shares), 10), "its share when CPUs are short"); err != nil {
			return err
		}
	}
	setBurst := func() error {
		if cpu.Burst == nil {
			return nil
		}
		return c.write(ctx, "cpu.max.burst", strconv.FormatUint(*cpu.Burst, 10), "unused quota that it may save up")
	}
	// The burst may never be above the quota. On the way down it goes first; up, it
	// is refused until the quota has made room.
	burst := setBurst()
	if burst != nil && !errors.Is(burst, unix.EINVAL) {
		return burst
	}
	if max, err := c.cpuMax(cpu); err != nil {
		return err
	} else if max != "" {
		if err := c.write(ctx, "cpu.max", max, "microseconds of CPU in each period of so many"); err != nil {
			return err
		}
	}
	if burst != nil {
		if err := setBurst(); err != nil {
			return err
		}
	}
	if cpu.Cpus != "" {
		if err := c.write(ctx, "cpuset.cpus", cpu.Cpus, "the CPUs that it may run on"); err != nil {
			return err
		}
	}
	if cpu.Mems != "" {
		return c.write(ctx, "cpuset.mems", cpu.Mems, "the memory nodes that it may allocate from")
	}
	return nil
}

// cpuMax returns what to write to cpu.max, "" for nothing: "QUOTA PERIOD", or
// "QUOTA" alone, which leaves the period as it is.
func (c *Cgroup) cpuMax(cpu *specs.LinuxCPU) (string, error) {
	var quota, period string
	if cpu.Quota != nil && *cpu.Quota != 0 {
		quota = limit(*cpu.Quota)
	}
	if cpu.Period != nil && *cpu.Period != 0 {
		period = " " + strconv.FormatUint(*cpu.Period, 10)
	}
	if quota == "" && period != "" {
		// The file takes no period alone.
		now, err := cgroupfs.ReadString(c.dir + "/cpu.max")
		if err != nil {
			return "", err
		}
		quota, _, _ = strings.Cut(now, " ")
	}
	return quota + period, nil
}

func (c *Cgroup) setPids(ctx context.Context, r *specs.LinuxResources) error {
	if r.Pids == nil || r.Pids.Limit == nil {
		return nil
	}
	return c.write(ctx, "pids.max", limit(*r.Pids.Limit), "fork(2) beyond this many tasks fails with EAGAIN")
}

func (c *Cgroup) setIO(ctx context.Context, r *specs.LinuxResources) error {
	io := r.BlockIO
	if io == nil {
		return nil
	}
	if io.Weight != nil && *io.Weight != 0 {
		if err := c.setIOWeight(ctx, *io.Weight); err != nil {
			return err
		}
	}
	for _, d := range io.WeightDevice {
		if d.Weight == nil {
			continue
		}
		if err := c.write(ctx, "io.bfq.weight", fmt.Sprintf("%d:%d %d", d.Major, d.Minor, *d.Weight), "its share of this device"); err != nil {
			return err
		}
	}
	for _, throttle := range []struct {
		key     string
		devices []specs.LinuxThrottleDevice
	}{
		{"rbps", io.ThrottleReadBpsDevice}, {"wbps", io.ThrottleWriteBpsDevice},
		{"riops", io.ThrottleReadIOPSDevice}, {"wiops", io.ThrottleWriteIOPSDevice},
	} {
		for _, d := range throttle.devices {
			rate := "max"
			if d.Rate != 0 {
				rate = strconv.FormatUint(d.Rate, 10)
			}
			if err := c.write(ctx, "io.max", fmt.Sprintf("%d:%d %s=%s", d.Major, d.Minor, throttle.key, rate), "bytes or requests a second"); err != nil {
				return err
			}
		}
	}
	return nil
}

// setIOWeight writes the weight (10 to 1000) where the kernel has a place for
// it: BFQ's file takes it as it is; io.weight (1 to 10000) exists with iocost.
func (c *Cgroup) setIOWeight(ctx context.Context, weight uint16) error {
	const why = "its share when the disk is busy"
	if _, err := os.Stat(c.dir + "/io.bfq.weight"); err == nil {
		return c.write(ctx, "io.bfq.weight", strconv.Itoa(int(weight)), why)
	}
	return c.write(ctx, "io.weight", strconv.Itoa(1+(int(weight)-10)*9999/990), why)
}

func (c *Cgroup) setHugepages(ctx context.Context, r *specs.LinuxResources) error {
	for _, h := range r.HugepageLimits {
		if err := c.write(ctx, "hugetlb."+h.Pagesize+".max", strconv.FormatUint(h.Limit, 10), "huge pages, in bytes"); err != nil {
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

// setUnified writes the raw keys, each the name of a file of this directory
// (runtime-spec, config-linux.md, "Unified").
func (c *Cgroup) setUnified(ctx context.Context, r *specs.LinuxResources) error {
	for _, file := range slices.Sorted(maps.Keys(r.Unified)) {
		if strings.Contains(file, "/") || !strings.Contains(file, ".") {
			return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("unified key %q: it must be a file's name, as in memory.high", file))
		}
		// Several lines are several requests (io.max of two devices).
		for line := range strings.Lines(r.Unified[file]) {
			if err := c.write(ctx, file, strings.TrimSpace(line), "asked for by this file's name"); err != nil {
				return err
			}
		}
	}
	return nil
}
