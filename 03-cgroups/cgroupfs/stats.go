package cgroupfs

import "time"

// Stats is what the kernel counted for a cgroup and all below it. A part whose
// controller is not there stays zero.
type Stats struct {
	Memory Memory
	CPU    CPU
	Pids   Pids
	IO     []IO // one for each block device that was used
	CPUSet CPUSet
	// HugePages by page size ("2MB"), and RDMA handles by device ("mlx5_0").
	HugePages map[string]HugePages
	RDMA      map[string]RDMA
}

// Memory is in bytes. A limit that is not set is math.MaxUint64.
type Memory struct {
	Usage     uint64 // charged now, page cache included
	Peak      uint64 // the largest Usage so far; 0 where the kernel does not keep it (v2 before 5.19)
	Limit     uint64
	Swap      uint64            // swap in use, without memory
	SwapLimit uint64            // swap alone, without memory
	Failures  uint64            // how often the limit was reached and memory had to be reclaimed (v1 of Linux 6.18 does not count the memory+swap limit)
	OOMKills  uint64            // processes killed because nothing was left to reclaim
	Detail    map[string]uint64 // memory.stat as it is, keys and units of the kernel's version
}

// CPU is processor time, summed over all CPUs.
type CPU struct {
	Usage, User, System time.Duration
	Periods             uint64        // enforcement periods in which the cgroup ran
	Throttled           uint64        // periods in which it used up its quota
	ThrottledTime       time.Duration // how long its threads had to wait for the next period
	PerCPU              []uint64      // nanoseconds on each CPU; v1 alone keeps it
}

// Pids counts tasks, that is threads. A limit that is not set is
// math.MaxUint64.
type Pids struct {
	Current, Limit uint64
	Failures       uint64 // forks that the limit refused
}

// IO is what passed between the cgroup and one block device.
type IO struct {
	Major, Minor          uint32
	ReadBytes, WriteBytes uint64
	Reads, Writes         uint64 // requests
}

// CPUSet is which processors and memory nodes may be used, by their numbers.
type CPUSet struct {
	CPUs, Mems []uint16
}

// HugePages is in bytes: what is reserved where the kernel counts that, else
// what is in use.
type HugePages struct {
	Usage, Peak uint64 // v2 keeps no peak
	Failures    uint64 // allocations that the limit refused
}

// RDMA counts what a cgroup holds of one device.
type RDMA struct {
	Handles, Objects uint64
}
