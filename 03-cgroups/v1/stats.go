//go:build linux

package v1

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"drydock.example/03-cgroups/cgroupfs"
	"github.com/containerd/errdefs"
)

// Stats reads the counters of the controllers that have a hierarchy.
func (c *Cgroup) Stats() (cgroupfs.Stats, error) {
	var s cgroupfs.Stats
	for controller, read := range map[string]func(string, *cgroupfs.Stats) error{
		"memory": memoryStats, "cpu": cpuStats, "cpuacct": cpuacctStats, "pids": pidsStats, "blkio": blkioStats,
		"cpuset": cpusetStats, "hugetlb": hugetlbStats, "rdma": rdmaStats,
	} {
		dir, err := c.dir(controller)
		if err != nil {
			continue
		}
		if err := read(dir, &s); err != nil {
			return s, err
		}
	}
	return s, nil
}

func memoryStats(dir string, s *cgroupfs.Stats) (err error) {
	m := &s.Memory
	for file, p := range map[string]*uint64{
		"memory.usage_in_bytes": &m.Usage, "memory.max_usage_in_bytes": &m.Peak,
		"memory.limit_in_bytes": &m.Limit, "memory.failcnt": &m.Failures,
	} {
		if *p, err = cgroupfs.ReadUint(dir + "/" + file); err != nil {
			return err
		}
	}
	if m.Detail, err = cgroupfs.ReadMap(dir + "/memory.stat"); err != nil {
		return err
	}
	oom, err := cgroupfs.ReadMap(dir + "/memory.oom_control")
	if err != nil {
		return err
	}
	m.OOMKills = oom["oom_kill"]
	// v1 counts memory and swap together; a kernel without swap accounting has
	// no such files.
	both, err := cgroupfs.ReadUint(dir + "/memory.memsw.usage_in_bytes")
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	m.Swap = max(both, m.Usage) - m.Usage
	// Where both limits are the same the kernel meets this one first.
	failures, err := cgroupfs.ReadUint(dir + "/memory.memsw.failcnt")
	if err != nil {
		return err
	}
	m.Failures += failures
	limit, err := cgroupfs.ReadUint(dir + "/memory.memsw.limit_in_bytes")
	m.SwapLimit = limit
	if limit != cgroupfs.NoLimit {
		m.SwapLimit = max(limit, m.Limit) - m.Limit
	}
	return err
}

func cpuStats(dir string, s *cgroupfs.Stats) error {
	m, err := cgroupfs.ReadMap(dir + "/cpu.stat")
	s.CPU.Periods, s.CPU.Throttled, s.CPU.ThrottledTime = m["nr_periods"], m["nr_throttled"], time.Duration(m["throttled_time"])
	return err
}

func cpuacctStats(dir string, s *cgroupfs.Stats) error {
	usage, err := cgroupfs.ReadUint(dir + "/cpuacct.usage")
	if err != nil {
		return err
	}
	s.CPU.Usage = time.Duration(usage)
	// In USER_HZ, which is 100 on every architecture that Go runs on.
	m, err := cgroupfs.ReadMap(dir + "/cpuacct.stat")
	if err != nil {
		return err
	}
	const tick = time.Second / 100
	s.CPU.User, s.CPU.System = time.Duration(m["user"])*tick, time.Duration(m["system"])*tick
	perCPU, err := cgroupfs.ReadString(dir + "/cpuacct.usage_percpu")
	for _, field := range strings.Fields(perCPU) {
		n, _ := strconv.ParseUint(field, 10, 64)
		s.CPU.PerCPU = append(s.CPU.PerCPU, n)
	}
	return err
}

func pidsStats(dir string, s *cgroupfs.Stats) (err error) {
	if s.Pids.Current, err = cgroupfs.ReadUint(dir + "/pids.current"); err != nil {
		return err
	}
	if s.Pids.Limit, err = cgroupfs.ReadUint(dir + "/pids.max"); err != nil {
		return err
	}
	events, err := cgroupfs.ReadMap(dir + "/pids.events")
	s.Pids.Failures = events["max"]
	return err
}

// blkioStats reads "8:0 Read 4096" from the throttling layer, which counts
// under every I/O scheduler.
func blkioStats(dir string, s *cgroupfs.Stats) error {
	devices := map[string]*cgroupfs.IO{}
	var order []string
	for file, add := range map[string]func(d *cgroupfs.IO, op string, n uint64){
		"blkio.throttle.io_service_bytes_recursive": func(d *cgroupfs.IO, op string, n uint64) {
			switch op {
			case "Read":
				d.ReadBytes = n
			case "Write":
				d.WriteBytes = n
			}
		},
		"blkio.throttle.io_serviced_recursive": func(d *cgroupfs.IO, op string, n uint64) {
			switch op {
			case "Read":
				d.Reads = n
			case "Write":
				d.Writes = n
			}
		},
	} {
		b, err := cgroupfs.Read(dir + "/" + file)
		if errdefs.IsNotFound(err) {
			continue // kernels without CONFIG_BLK_DEV_THROTTLING
		}
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			fields := strings.Fields(line)
			if len(fields) != 3 {
				continue // "Total 4096"
			}
			n, err := strconv.ParseUint(fields[2], 10, 64)
			if err != nil {
				return fmt.Errorf("%s/%s: %q: %w", dir, file, line, err)
			}
			d := devices[fields[0]]
			if d == nil {
				d = &cgroupfs.IO{}
				if _, err := fmt.Sscanf(fields[0], "%d:%d", &d.Major, &d.Minor); err != nil {
					return fmt.Errorf("%s/%s: %q: %w", dir, file, line, err)
				}
				devices[fields[0]] = d
				order = append(order, fields[0])
			}
			add(d, fields[1], n)
		}
	}
	for _, name := range order {
		s.IO = append(s.IO, *devices[name])
	}
	return nil
}

func cpusetStats(dir string, s *cgroupfs.Stats) (err error) {
	s.CPUSet, err = cgroupfs.ReadCPUSet(dir+"/cpuset.effective_cpus", dir+"/cpuset.effective_mems")
	return err
}

func hugetlbStats(dir string, s *cgroupfs.Stats) (err error) {
	s.HugePages = map[string]cgroupfs.HugePages{}
	for _, size := range cgroupfs.HugePageSizes(dir, "usage_in_bytes") {
		prefix := cgroupfs.ReservedPrefix(dir, size, "usage_in_bytes")
		var h cgroupfs.HugePages
		for file, p := range map[string]*uint64{"usage_in_bytes": &h.Usage, "max_usage_in_bytes": &h.Peak, "failcnt": &h.Failures} {
			if *p, err = cgroupfs.ReadUint(prefix + file); err != nil {
				return err
			}
		}
		s.HugePages[size] = h
	}
	return nil
}

func rdmaStats(dir string, s *cgroupfs.Stats) (err error) {
	s.RDMA, err = cgroupfs.ReadRDMA(dir + "/rdma.current")
	return err
}
