//go:build linux

package cgroups

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// The kernel takes almost any number: a memory limit of one page is "valid", and
// the first process dies before it can say why. check refuses what cannot work
// while it still can be explained. Bounds of the kernel are those of
// kernel/sched/core.c and Documentation/scheduler/sched-bwc.rst.
const (
	// minMemory is Docker's bound. The process that prepares the container
	// and its page tables need some of it before the user's program begins.
	minMemory = 6 << 20

	minQuota, minPeriod, maxPeriod = 1000, 1000, 1000000 // µs
	minShares, maxShares           = 2, 262144
	minWeight, maxWeight           = 10, 1000

	// minPids is for the start alone: the process that prepares the container
	// is a Go program, which has a few threads until it becomes the user's.
	minPids = 8
)

func invalid(format string, args ...any) error {
	return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf(format, args...))
}

// check refuses limits that make no sense. Its errors, of kind InvalidArgument,
// name the value, the bounds and what to give instead.
func check(r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	for _, err := range []error{checkMemory(r.Memory), checkCPU(r.CPU), checkPids(r.Pids), checkBlockIO(r.BlockIO)} {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkMemory(m *specs.LinuxMemory) error {
	if m == nil {
		return nil
	}
	get := func(p *int64) int64 {
		if p == nil {
			return 0
		}
		return *p
	}
	limit, reservation, swap := get(m.Limit), get(m.Reservation), get(m.Swap)
	switch {
	case limit < -1 || limit > 0 && limit < minMemory:
		return invalid("memory limit %d: a container needs at least %d bytes (6m); -1 is no limit", limit, minMemory)
	case reservation < -1:
		return invalid("memory reservation %d: give bytes, or -1 for no reservation", reservation)
	case limit > 0 && reservation > limit:
		return invalid("memory reservation %d is above the memory limit %d: reserve less", reservation, limit)
	case swap < -1:
		return invalid("memory+swap limit %d: give bytes, or -1 for as much swap as there is", swap)
	case limit > 0 && swap > 0 && swap < limit:
		return invalid("memory+swap limit %d is below the memory limit %d: it counts both together, so give at least as much", swap, limit)
	case limit == -1 && swap > 0:
		return invalid("memory+swap limit %d without a memory limit: it counts both together, so give one of memory too, or -1 for no limit of both", swap)
	case m.Swappiness != nil && *m.Swappiness > 100:
		return invalid("swappiness %d: give 0 to 100", *m.Swappiness)
	}
	return nil
}

func checkCPU(c *specs.LinuxCPU) error {
	if c == nil {
		return nil
	}
	switch {
	case c.Shares != nil && *c.Shares != 0 && (*c.Shares < minShares || *c.Shares > maxShares):
		return invalid("CPU shares %d: give %d to %d; 1024 is everybody's default", *c.Shares, minShares, maxShares)
	case c.Period != nil && *c.Period != 0 && (*c.Period < minPeriod || *c.Period > maxPeriod):
		return invalid("CPU period %dµs: give %d to %d (1ms to 1s)", *c.Period, minPeriod, maxPeriod)
	case c.Quota != nil && *c.Quota < -1, c.Quota != nil && *c.Quota > 0 && *c.Quota < minQuota:
		return invalid("CPU quota %dµs: give at least %d (1ms) in each period, which is a hundredth of a CPU by default; -1 is no limit", *c.Quota, minQuota)
	case c.Burst != nil && c.Quota != nil && *c.Quota > 0 && *c.Burst > uint64(*c.Quota):
		return invalid("CPU burst %dµs is above the quota %dµs: save up no more than one quota", *c.Burst, *c.Quota)
	case c.Idle != nil && *c.Idle != 0 && *c.Idle != 1:
		return invalid("CPU idle %d: give 0 or 1", *c.Idle)
	}
	if err := checkList("CPUs", c.Cpus, "/sys/devices/system/cpu/online"); err != nil {
		return err
	}
	return checkList("memory nodes", c.Mems, "/sys/devices/system/node/online")
}

func checkPids(p *specs.LinuxPids) error {
	if p == nil || p.Limit == nil {
		return nil
	}
	if *p.Limit < -1 || *p.Limit == 0 {
		return invalid("pids limit %d: give the number of tasks, at least 1; -1 is no limit", *p.Limit)
	}
	return nil
}

// startable is r with the limits under which a container can be prepared, and
// whether that differs: see [Cgroup.Started].
func startable(r *specs.LinuxResources) (_ *specs.LinuxResources, held bool) {
	if r == nil || r.Pids == nil || r.Pids.Limit == nil || *r.Pids.Limit < 0 || *r.Pids.Limit >= minPids {
		return r, false
	}
	with, tasks := *r, int64(minPids)
	with.Pids = &specs.LinuxPids{Limit: &tasks}
	return &with, true
}

func checkBlockIO(b *specs.LinuxBlockIO) error {
	if b == nil {
		return nil
	}
	weights := []*uint16{b.Weight}
	for _, d := range b.WeightDevice {
		weights = append(weights, d.Weight)
	}
	for _, w := range weights {
		if w != nil && *w != 0 && (*w < minWeight || *w > maxWeight) {
			return invalid("block I/O weight %d: give %d to %d", *w, minWeight, maxWeight)
		}
	}
	return nil
}

// checkList holds a list such as "0-2,4" against what the machine has online.
func checkList(what, list, online string) error {
	if list == "" {
		return nil
	}
	asked, err := parseList(list)
	if err != nil {
		return invalid("%s %q: %v: give numbers and ranges, as in 0-2,4", what, list, err)
	}
	b, err := os.ReadFile(online)
	if err != nil {
		return nil // a kernel that does not tell (no NUMA); it will judge by itself
	}
	have, err := parseList(strings.TrimSpace(string(b)))
	if err != nil {
		return fmt.Errorf("%s: %w", online, err)
	}
	for n := range asked {
		if !have[n] {
			return invalid("%s %q: this machine has %s", what, list, strings.TrimSpace(string(b)))
		}
	}
	return nil
}

// parseList reads the kernel's list format (cpuset(7), "List format").
func parseList(s string) (map[int]bool, error) {
	const most = 8192 // CONFIG_NR_CPUS is no larger anywhere
	set := map[int]bool{}
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, err := strconv.ParseUint(first, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q is no number", first)
		}
		b, err := strconv.ParseUint(last, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q is no number", last)
		}
		if b < a || b >= most {
			return nil, fmt.Errorf("%q is no range", part)
		}
		for n := a; n <= b; n++ {
			set[int(n)] = true
		}
	}
	return set, nil
}
