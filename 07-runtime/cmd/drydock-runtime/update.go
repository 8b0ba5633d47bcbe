//go:build linux

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"

	"github.com/docker/go-units"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func update(ctx context.Context, g *global, args []string) error {
	fs := options("update")
	var file string
	var schemata specs.LinuxIntelRdt
	for _, name := range []string{"resources", "r"} {
		fs.StringVar(&file, name, "", "file with linux.resources in JSON, or - for standard input; other options are ignored then")
	}
	fs.StringVar(&schemata.L3CacheSchema, "l3-cache-schema", "", "part of the L3 caches, like L3:0=7f0 (Intel RDT)")
	fs.StringVar(&schemata.MemBwSchema, "mem-bw-schema", "", "part of the memory's bandwidth, like MB:0=20 (Intel RDT)")
	r := limits(fs)
	rest, err := parse(fs, args, "<container-id>", 1, 1)
	if err != nil {
		return err
	}
	var rdt *specs.LinuxIntelRdt
	if schemata.L3CacheSchema != "" || schemata.MemBwSchema != "" {
		rdt = &schemata
	}
	if file != "" {
		if r, err = readLimits(file); err != nil {
			return err
		}
	}
	return g.Update(ctx, rest[0], r, rdt)
}

// readLimits reads the limits to change from a file, or from standard input.
func readLimits(file string) (*specs.LinuxResources, error) {
	in := os.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	r := &specs.LinuxResources{}
	if err := json.NewDecoder(in).Decode(r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

// limits declares an option for each limit. What is given goes to the result.
func limits(fs *flag.FlagSet) *specs.LinuxResources {
	r := &specs.LinuxResources{}
	memory := func() *specs.LinuxMemory {
		if r.Memory == nil {
			r.Memory = &specs.LinuxMemory{}
		}
		return r.Memory
	}
	cpu := func() *specs.LinuxCPU {
		if r.CPU == nil {
			r.CPU = &specs.LinuxCPU{}
		}
		return r.CPU
	}
	for _, o := range []struct {
		name, about string
		set         func(v string) error
	}{
		{"blkio-weight", "share of the block devices' time, 10 to 1000", func(v string) error {
			n, err := strconv.ParseUint(v, 10, 16)
			r.BlockIO = &specs.LinuxBlockIO{Weight: new(uint16(n))}
			return err
		}},
		{"cpu-period", "CPU period in µs; 0 for the kernel's own", func(v string) error { return number(v, &cpu().Period) }},
		{"cpu-quota", "CPU time in each period in µs; -1 for no limit", func(v string) error { return number(v, &cpu().Quota) }},
		{"cpu-burst", "CPU time in µs that may be saved up", func(v string) error { return number(v, &cpu().Burst) }},
		{"cpu-share", "CPU shares, relative to others", func(v string) error { return number(v, &cpu().Shares) }},
		{"cpu-rt-period", "period of realtime tasks in µs", func(v string) error { return number(v, &cpu().RealtimePeriod) }},
		{"cpu-rt-runtime", "time of realtime tasks in each period in µs", func(v string) error { return number(v, &cpu().RealtimeRuntime) }},
		{"cpu-idle", "1: only when nobody else wants the CPU", func(v string) error { return number(v, &cpu().Idle) }},
		{"cpuset-cpus", "CPUs to use", func(v string) error { cpu().Cpus = v; return nil }},
		{"cpuset-mems", "memory nodes to use", func(v string) error { cpu().Mems = v; return nil }},
		{"memory", "memory limit, like 512m", func(v string) error { return size(v, &memory().Limit) }},
		{"memory-reservation", "soft memory limit", func(v string) error { return size(v, &memory().Reservation) }},
		{"memory-swap", "memory and swap together; -1 for no limit", func(v string) error { return size(v, &memory().Swap) }},
		{"kernel-memory", "ignored: the kernel has no such limit any more", func(string) error { return nil }},
		{"kernel-memory-tcp", "ignored, as above", func(string) error { return nil }},
		{"pids-limit", "number of tasks; -1 for no limit", func(v string) error {
			n, err := strconv.ParseInt(v, 10, 64)
			r.Pids = &specs.LinuxPids{Limit: &n}
			return err
		}},
	} {
		fs.Func(o.name, o.about, o.set)
	}
	return r
}

// number parses into a field of the limits.
func number[T int64 | uint64](v string, field **T) error {
	var n T
	var err error
	switch p := any(&n).(type) {
	case *int64:
		*p, err = strconv.ParseInt(v, 10, 64)
	case *uint64:
		*p, err = strconv.ParseUint(v, 10, 64)
	}
	*field = &n
	return err
}

// size parses a size in bytes, or with k, m, g; -1 is no limit.
func size(v string, field **int64) error {
	n := int64(-1)
	var err error
	if v != "-1" {
		n, err = units.RAMInBytes(v)
	}
	*field = &n
	return err
}
