//go:build linux

package oci

import (
	"github.com/containerd/errdefs"

	cgroups "drydock.example/03-cgroups"
)

// Stats is what a container has used, in the form that runc prints: sizes in
// bytes, times in nanoseconds. A limit that is not set is 2⁶⁴-1.
type Stats struct {
	CPU     CPUStats                `json:"cpu"`
	CPUSet  CPUSetStats             `json:"cpuset"`
	Memory  MemoryStats             `json:"memory"`
	Pids    PidsStats               `json:"pids"`
	BlkIO   BlkIOStats              `json:"blkio"`
	Hugetlb map[string]HugetlbStats `json:"hugetlb"`
	RDMA    map[string]RDMAStats    `json:"rdma,omitempty"`
	RDT     RDTStats                `json:"intel_rdt"`

	NetworkInterfaces []struct{} `json:"network_interfaces"`
}

// CPUStats is processor time, and how often the quota was used up.
type CPUStats struct {
	Usage struct {
		Total  uint64   `json:"total,omitempty"`
		PerCPU []uint64 `json:"percpu,omitempty"`
		Kernel uint64   `json:"kernel"`
		User   uint64   `json:"user"`
	} `json:"usage"`
	Throttling struct {
		Periods          uint64 `json:"periods,omitempty"`
		ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"`
		ThrottledTime    uint64 `json:"throttledTime,omitempty"`
	} `json:"throttling"`
	PSI *PressureStats `json:"psi,omitempty"`
}

// PressureStats is how much of the time tasks waited for a resource: some of
// them, or all that had work. Absent where the kernel does not measure it.
type PressureStats struct {
	Some StallStats `json:"some"`
	Full StallStats `json:"full"`
}

// StallStats are averages over seconds, in percent, and the sum in microseconds.
type StallStats struct {
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`
	Total  uint64  `json:"total"`
}

// CPUSetStats are the processors and memory nodes that it may use.
type CPUSetStats struct {
	CPUs []uint16 `json:"cpus,omitempty"`
	Mems []uint16 `json:"mems,omitempty"`
}

// HugetlbStats counts huge pages of one size, in bytes.
type HugetlbStats struct {
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

// RDMAStats counts what it holds of one device.
type RDMAStats struct {
	Handles uint64 `json:"hca_handle"`
	Objects uint64 `json:"hca_object"`
}

// MemoryStats counts memory with the page cache, and memory and swap together.
type MemoryStats struct {
	Cache uint64            `json:"cache,omitempty"`
	Usage MemoryEntry       `json:"usage"`
	Swap  MemoryEntry       `json:"swap"`
	Raw   map[string]uint64 `json:"raw,omitempty"` // memory.stat as it is
	PSI   *PressureStats    `json:"psi,omitempty"`
}

// MemoryEntry is one counter and its limit.
type MemoryEntry struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

// PidsStats counts tasks.
type PidsStats struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
}

// BlkIOStats are bytes and requests, for each device and operation.
type BlkIOStats struct {
	IOServiceBytesRecursive []BlkIOEntry `json:"ioServiceBytesRecursive,omitempty"`
	IOServicedRecursive     []BlkIOEntry `json:"ioServicedRecursive,omitempty"`

	PSI *PressureStats `json:"psi,omitempty"`
}

// BlkIOEntry is one counter of a device.
type BlkIOEntry struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"`
	Value uint64 `json:"value,omitempty"`
}

// pressure returns what is measured of a resource, or nil.
func pressure(g *cgroups.Cgroup, resource cgroups.Resource) (*PressureStats, error) {
	p, err := g.Pressure(resource)
	if errdefs.IsFailedPrecondition(err) || errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &PressureStats{
		Some: StallStats{p.Some.Avg10, p.Some.Avg60, p.Some.Avg300, uint64(p.Some.Total.Microseconds())},
		Full: StallStats{p.Full.Avg10, p.Full.Avg60, p.Full.Avg300, uint64(p.Full.Total.Microseconds())},
	}, nil
}

func newStats(k cgroups.Stats) *Stats {
	s := &Stats{Hugetlb: map[string]HugetlbStats{}, CPUSet: CPUSetStats(k.CPUSet)}
	for size, h := range k.HugePages {
		s.Hugetlb[size] = HugetlbStats{Usage: h.Usage, Max: h.Peak, Failcnt: h.Failures}
	}
	for device, r := range k.RDMA {
		if s.RDMA == nil {
			s.RDMA = map[string]RDMAStats{}
		}
		s.RDMA[device] = RDMAStats(r)
	}
	s.CPU.Usage.Total, s.CPU.Usage.PerCPU = uint64(k.CPU.Usage), k.CPU.PerCPU
	s.CPU.Usage.Kernel, s.CPU.Usage.User = uint64(k.CPU.System), uint64(k.CPU.User)
	s.CPU.Throttling.Periods, s.CPU.Throttling.ThrottledPeriods = k.CPU.Periods, k.CPU.Throttled
	s.CPU.Throttling.ThrottledTime = uint64(k.CPU.ThrottledTime)

	m := k.Memory
	s.Memory.Raw = m.Detail
	s.Memory.Cache = max(m.Detail["cache"], m.Detail["file"]) // by v1's and by v2's name
	s.Memory.Usage = MemoryEntry{Limit: m.Limit, Usage: m.Usage, Max: m.Peak, Failcnt: m.Failures}
	s.Memory.Swap = MemoryEntry{Limit: cgroups.NoLimit, Usage: m.Usage + m.Swap}
	if m.Limit != cgroups.NoLimit && m.SwapLimit != cgroups.NoLimit {
		s.Memory.Swap.Limit = m.Limit + m.SwapLimit
	}

	s.Pids.Current = k.Pids.Current
	if k.Pids.Limit != cgroups.NoLimit {
		s.Pids.Limit = k.Pids.Limit
	}
	for _, d := range k.IO {
		entry := func(op string, n uint64) BlkIOEntry {
			return BlkIOEntry{Major: uint64(d.Major), Minor: uint64(d.Minor), Op: op, Value: n}
		}
		b := &s.BlkIO
		b.IOServiceBytesRecursive = append(b.IOServiceBytesRecursive, entry("Read", d.ReadBytes), entry("Write", d.WriteBytes))
		b.IOServicedRecursive = append(b.IOServicedRecursive, entry("Read", d.Reads), entry("Write", d.Writes))
	}
	return s
}
