//go:build linux

package v2

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"drydock.example/03-cgroups/cgroupfs"
	"github.com/containerd/errdefs"
)

// Stats reads the counters of the controllers that the cgroup has.
func (c *Cgroup) Stats() (cgroupfs.Stats, error) {
	var s cgroupfs.Stats
	for _, read := range []func(*cgroupfs.Stats) error{c.memoryStats, c.cpuStats, c.pidsStats, c.ioStats, c.cpusetStats, c.hugetlbStats, c.rdmaStats} {
		// A missing file is a missing controller; a missing cgroup is an error.
		if err := read(&s); err != nil && (!errdefs.IsNotFound(err) || !c.Exists()) {
			return s, err
		}
	}
	return s, nil
}

// optionalUints reads numbers from files of which some kernels lack some.
func (c *Cgroup) optionalUints(files map[string]*uint64) error {
	for file, p := range files {
		n, err := cgroupfs.ReadUint(c.dir + "/" + file)
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		*p = n
	}
	return nil
}

func (c *Cgroup) memoryStats(s *cgroupfs.Stats) (err error) {
	m := &s.Memory
	if m.Usage, err = cgroupfs.ReadUint(c.dir + "/memory.current"); err != nil {
		return err
	}
	if m.Detail, err = cgroupfs.ReadMap(c.dir + "/memory.stat"); err != nil {
		return err
	}
	events, err := cgroupfs.ReadMap(c.dir + "/memory.events")
	if err != nil {
		return err
	}
	m.Failures, m.OOMKills = events["max"], events["oom_kill"]
	return c.optionalUints(map[string]*uint64{
		"memory.max": &m.Limit, "memory.peak": &m.Peak,
		"memory.swap.current": &m.Swap, "memory.swap.max": &m.SwapLimit,
	})
}

func (c *Cgroup) cpuStats(s *cgroupfs.Stats) error {
	m, err := cgroupfs.ReadMap(c.dir + "/cpu.stat")
	if err != nil {
		return err
	}
	usec := func(key string) time.Duration { return time.Duration(m[key]) * time.Microsecond }
	s.CPU.Usage, s.CPU.User, s.CPU.System = usec("usage_usec"), usec("user_usec"), usec("system_usec")
	s.CPU.Periods, s.CPU.Throttled, s.CPU.ThrottledTime = m["nr_periods"], m["nr_throttled"], usec("throttled_usec")
	return nil
}

func (c *Cgroup) pidsStats(s *cgroupfs.Stats) (err error) {
	if s.Pids.Current, err = cgroupfs.ReadUint(c.dir + "/pids.current"); err != nil {
		return err
	}
	if s.Pids.Limit, err = cgroupfs.ReadUint(c.dir + "/pids.max"); err != nil {
		return err
	}
	events, err := cgroupfs.ReadMap(c.dir + "/pids.events")
	s.Pids.Failures = events["max"]
	return err
}

// ioStats reads io.stat: "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0".
func (c *Cgroup) ioStats(s *cgroupfs.Stats) error {
	b, err := cgroupfs.Read(c.dir + "/io.stat")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		var d cgroupfs.IO
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		if _, err := fmt.Sscanf(fields[0], "%d:%d", &d.Major, &d.Minor); err != nil {
			return fmt.Errorf("%s/io.stat: %q: %w", c.dir, line, err)
		}
		for _, f := range fields[1:] {
			key, value, _ := strings.Cut(f, "=")
			n, _ := strconv.ParseUint(value, 10, 64)
			switch key {
			case "rbytes":
				d.ReadBytes = n
			case "wbytes":
				d.WriteBytes = n
			case "rios":
				d.Reads = n
			case "wios":
				d.Writes = n
			}
		}
		s.IO = append(s.IO, d)
	}
	return nil
}

func (c *Cgroup) cpusetStats(s *cgroupfs.Stats) (err error) {
	s.CPUSet, err = cgroupfs.ReadCPUSet(c.dir+"/cpuset.cpus.effective", c.dir+"/cpuset.mems.effective")
	return err
}

func (c *Cgroup) hugetlbStats(s *cgroupfs.Stats) (err error) {
	for _, size := range cgroupfs.HugePageSizes(c.dir, "current") {
		var h cgroupfs.HugePages
		if h.Usage, err = cgroupfs.ReadUint(cgroupfs.ReservedPrefix(c.dir, size, "current") + "current"); err != nil {
			return err
		}
		events, err := cgroupfs.ReadMap(c.dir + "/hugetlb." + size + ".events")
		if err != nil {
			return err
		}
		h.Failures = events["max"]
		if s.HugePages == nil {
			s.HugePages = map[string]cgroupfs.HugePages{}
		}
		s.HugePages[size] = h
	}
	return nil
}

func (c *Cgroup) rdmaStats(s *cgroupfs.Stats) (err error) {
	s.RDMA, err = cgroupfs.ReadRDMA(c.dir + "/rdma.current")
	return err
}
