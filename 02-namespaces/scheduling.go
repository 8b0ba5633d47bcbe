//go:build linux

package namespaces

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The names that runtime-spec takes from sched_setattr(2) and ioprio_set(2).
var (
	schedulerPolicies = map[specs.LinuxSchedulerPolicy]uint32{
		specs.SchedOther: 0, specs.SchedFIFO: 1, specs.SchedRR: 2, specs.SchedBatch: 3, specs.SchedISO: 4, specs.SchedIdle: 5, specs.SchedDeadline: 6,
	}
	schedulerFlags = map[specs.LinuxSchedulerFlag]uint64{
		specs.SchedFlagResetOnFork: 0x01, specs.SchedFlagReclaim: 0x02, specs.SchedFlagDLOverrun: 0x04, specs.SchedFlagKeepPolicy: 0x08,
		specs.SchedFlagKeepParams: 0x10, specs.SchedFlagUtilClampMin: 0x20, specs.SchedFlagUtilClampMax: 0x40,
	}
	ioClasses = map[specs.IOPriorityClass]int{specs.IOPRIO_CLASS_RT: 1, specs.IOPRIO_CLASS_BE: 2, specs.IOPRIO_CLASS_IDLE: 3}
)

// setScheduling sets how the processor and the disks are shared out to the
// process. Both are attributes of a thread, which execve keeps.
func setScheduling(p *initProcess) error {
	if s := p.Process.Scheduler; s != nil {
		attr, err := schedulerAttributes(s)
		if err != nil {
			return fmt.Errorf("process.scheduler: %w", err)
		}
		chapter.Call(p.ctx, "how the processor is given to it", "sched_setattr(0, {sched_policy=%s, sched_nice=%d, sched_priority=%d, sched_flags=%#x}, 0)", s.Policy, s.Nice, s.Priority, attr.Flags)
		if err := unix.SchedSetAttr(0, attr, 0); err != nil {
			return fmt.Errorf("process.scheduler: %s: %w", s.Policy, os.NewSyscallError("sched_setattr", err))
		}
	}
	if io := p.Process.IOPriority; io != nil {
		class, ok := ioClasses[io.Class]
		if !ok {
			return fmt.Errorf("process.ioPriority.class %q: want IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE", io.Class)
		}
		const process, classShift = 1, 13 // IOPRIO_WHO_PROCESS
		chapter.Call(p.ctx, "how the disks are given to it", "ioprio_set(IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(%s, %d))", io.Class, io.Priority)
		if _, _, errno := unix.RawSyscall(unix.SYS_IOPRIO_SET, process, 0, uintptr(class<<classShift|io.Priority)); errno != 0 {
			return fmt.Errorf("process.ioPriority: %s, %d: %w", io.Class, io.Priority, os.NewSyscallError("ioprio_set", errno))
		}
	}
	return nil
}

func schedulerAttributes(s *specs.Scheduler) (*unix.SchedAttr, error) {
	policy, ok := schedulerPolicies[s.Policy]
	if !ok {
		return nil, fmt.Errorf("policy %q is none of sched_setattr(2)", s.Policy)
	}
	attr := &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: policy, Nice: s.Nice, Priority: uint32(s.Priority),
		Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period,
	}
	for _, name := range s.Flags {
		flag, ok := schedulerFlags[name]
		if !ok {
			return nil, fmt.Errorf("flag %q is none of sched_setattr(2)", name)
		}
		attr.Flags |= flag
	}
	return attr, nil
}

// The names of set_mempolicy(2).
var (
	memoryModes = map[specs.MemoryPolicyModeType]uintptr{
		specs.MpolDefault: 0, specs.MpolPreferred: 1, specs.MpolBind: 2, specs.MpolInterleave: 3, specs.MpolLocal: 4,
		specs.MpolPreferredMany: 5, specs.MpolWeightedInterleave: 6,
	}
	memoryFlags = map[specs.MemoryPolicyFlagType]uintptr{
		specs.MpolFNumaBalancing: 1 << 13, specs.MpolFRelativeNodes: 1 << 14, specs.MpolFStaticNodes: 1 << 15,
	}
)

// MemoryModes and MemoryFlags are the words of linux.memoryPolicy.
func MemoryModes() []specs.MemoryPolicyModeType { return slices.Sorted(maps.Keys(memoryModes)) }

// MemoryFlags: see [MemoryModes].
func MemoryFlags() []specs.MemoryPolicyFlagType { return slices.Sorted(maps.Keys(memoryFlags)) }

// setMemoryPolicy sets which NUMA nodes the process's memory comes from.
func setMemoryPolicy(p *initProcess) error {
	m := p.MemoryPolicy
	if m == nil || m.Mode == "" && m.Nodes == "" && len(m.Flags) == 0 {
		return nil
	}
	mode, ok := memoryModes[m.Mode]
	if !ok {
		return fmt.Errorf("linux.memoryPolicy: invalid memory policy mode %q: it is none of set_mempolicy(2)", m.Mode)
	}
	for _, name := range m.Flags {
		flag, ok := memoryFlags[name]
		if !ok {
			return fmt.Errorf("linux.memoryPolicy: invalid memory policy flag %q: it is none of set_mempolicy(2)", name)
		}
		mode |= flag
	}
	nodes, err := parseList(m.Nodes)
	if err != nil {
		return fmt.Errorf("linux.memoryPolicy: invalid memory policy nodes: %w", err)
	}
	var mask *uint64
	size := uintptr(0)
	if len(nodes) > 0 {
		mask, size = &nodes[0], uintptr(len(nodes)*64+1) // the kernel takes one bit less than it is told
	}
	chapter.Call(p.ctx, "which memory nodes its pages come from", "set_mempolicy(%s, %q)", m.Mode, m.Nodes)
	if _, _, errno := unix.RawSyscall(unix.SYS_SET_MEMPOLICY, mode, uintptr(unsafe.Pointer(mask)), size); errno != 0 {
		return fmt.Errorf("linux.memoryPolicy: %s, nodes %q: %w", m.Mode, m.Nodes, os.NewSyscallError("set_mempolicy", errno))
	}
	return nil
}

// parseList reads "0-2,4" as a bit mask (cpuset(7), list format).
func parseList(s string) ([]uint64, error) {
	const most = 1 << 12 // more than any machine has
	var mask []uint64
	if s = strings.TrimSpace(s); s == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		from, to, ranged := strings.Cut(strings.TrimSpace(part), "-")
		first, err := strconv.ParseUint(from, 10, 16)
		last := first
		if err == nil && ranged {
			last, err = strconv.ParseUint(to, 10, 16)
		}
		if err != nil || last < first || last >= most {
			return nil, fmt.Errorf("%q in %q: want numbers and ranges like 0-2,4", part, s)
		}
		for n := first; n <= last; n++ {
			for uint64(len(mask)*64) <= n {
				mask = append(mask, 0)
			}
			mask[n/64] |= 1 << (n % 64)
		}
	}
	return mask, nil
}

// domains are the execution domains of personality(2) that runtime-spec knows.
var domains = map[specs.LinuxPersonalityDomain]uintptr{specs.PerLinux: 0, specs.PerLinux32: 0x0008}

// setPersonality changes what uname(2) says the machine is: a 32-bit container.
func setPersonality(p *initProcess) error {
	if p.Personality == nil {
		return nil
	}
	domain, ok := domains[p.Personality.Domain]
	if !ok {
		return fmt.Errorf("linux.personality.domain %q: want LINUX or LINUX32", p.Personality.Domain)
	}
	if len(p.Personality.Flags) > 0 {
		return fmt.Errorf("linux.personality.flags %v: the specification knows none", p.Personality.Flags)
	}
	chapter.Call(p.ctx, "the machine that uname(2) tells it of", "personality(%#x)", domain)
	if _, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, domain, 0, 0); errno != 0 {
		return fmt.Errorf("linux.personality: %s: %w", p.Personality.Domain, os.NewSyscallError("personality", errno))
	}
	return nil
}
