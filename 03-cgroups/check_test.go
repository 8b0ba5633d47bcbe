//go:build linux

package cgroups_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestLimitsThatMakeNoSense(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	memory := func(m specs.LinuxMemory) *specs.LinuxResources { return &specs.LinuxResources{Memory: &m} }
	cpu := func(c specs.LinuxCPU) *specs.LinuxResources { return &specs.LinuxResources{CPU: &c} }
	pids := func(n int64) *specs.LinuxResources {
		return &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &n}}
	}
	for name, test := range map[string]struct {
		r    *specs.LinuxResources
		want string
	}{
		"memory below the minimum":   {memory(specs.LinuxMemory{Limit: ptr(int64(4096))}), "memory limit 4096: a container needs at least 6291456 bytes (6m); -1 is no limit"},
		"negative memory":            {memory(specs.LinuxMemory{Limit: ptr(int64(-2))}), "memory limit -2: a container needs at least 6291456 bytes (6m); -1 is no limit"},
		"reservation above":          {memory(specs.LinuxMemory{Limit: ptr(int64(8 << 20)), Reservation: ptr(int64(9 << 20))}), "memory reservation 9437184 is above the memory limit 8388608: reserve less"},
		"swap below":                 {memory(specs.LinuxMemory{Limit: ptr(int64(8 << 20)), Swap: ptr(int64(7 << 20))}), "memory+swap limit 7340032 is below the memory limit 8388608: it counts both together, so give at least as much"},
		"swappiness":                 {memory(specs.LinuxMemory{Swappiness: ptr(uint64(101))}), "swappiness 101: give 0 to 100"},
		"negative reservation":       {memory(specs.LinuxMemory{Reservation: ptr(int64(-2))}), "memory reservation -2: give bytes, or -1 for no reservation"},
		"negative swap":              {memory(specs.LinuxMemory{Swap: ptr(int64(-2))}), "memory+swap limit -2: give bytes, or -1 for as much swap as there is"},
		"period below 1 ms":          {cpu(specs.LinuxCPU{Period: ptr(uint64(999))}), "CPU period 999µs: give 1000 to 1000000 (1ms to 1s)"},
		"negative quota":             {cpu(specs.LinuxCPU{Quota: ptr(int64(-2))}), "CPU quota -2µs: give at least 1000"},
		"idle":                       {cpu(specs.LinuxCPU{Idle: ptr(int64(2))}), "CPU idle 2: give 0 or 1"},
		"a memory node of letters":   {cpu(specs.LinuxCPU{Mems: "a"}), `memory nodes "a": "a" is no number: give numbers and ranges, as in 0-2,4`},
		"weight of a device":         {&specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{WeightDevice: []specs.LinuxWeightDevice{{Weight: ptr(uint16(1001))}}}}, "block I/O weight 1001: give 10 to 1000"},
		"no tasks":                   {pids(0), "pids limit 0: give the number of tasks, at least 1; -1 is no limit"},
		"negative tasks":             {pids(-5), "pids limit -5: give the number of tasks, at least 1; -1 is no limit"},
		"quota below 1 ms":           {cpu(specs.LinuxCPU{Quota: ptr(int64(999))}), "CPU quota 999µs: give at least 1000 (1ms) in each period, which is a hundredth of a CPU by default; -1 is no limit"},
		"period above 1 s":           {cpu(specs.LinuxCPU{Period: ptr(uint64(1000001))}), "CPU period 1000001µs: give 1000 to 1000000 (1ms to 1s)"},
		"shares":                     {cpu(specs.LinuxCPU{Shares: ptr(uint64(1))}), "CPU shares 1: give 2 to 262144; 1024 is everybody's default"},
		"burst":                      {cpu(specs.LinuxCPU{Quota: ptr(int64(2000)), Burst: ptr(uint64(3000))}), "CPU burst 3000µs is above the quota 2000µs: save up no more than one quota"},
		"a CPU that is not there":    {cpu(specs.LinuxCPU{Cpus: "0,4095"}), `CPUs "0,4095": this machine has 0`},
		"CPUs that are no list":      {cpu(specs.LinuxCPU{Cpus: "two"}), `CPUs "two": "two" is no number: give numbers and ranges, as in 0-2,4`},
		"a range that runs backward": {cpu(specs.LinuxCPU{Cpus: "2-1"}), `CPUs "2-1": "2-1" is no range: give numbers and ranges, as in 0-2,4`},
		"weight":                     {&specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(5))}}, "block I/O weight 5: give 10 to 1000"},
		"device type":                {&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Type: "x"}}}, `device rule: type "x" is none of a, b, c, u`},
		"device access":              {&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Type: "c", Access: "x"}}}, `device rule: access "x": only r, w and m are known`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/bad/limit", test.r)
			if !errdefs.IsInvalidArgument(err) || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if left := exists(t, hosttest.Cgroup()+"/bad"); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// A limit that only the kernel can judge is answered in its words, and the
// refused Create leaves nothing.
func TestTheKernelsOwnWords(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	r := &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(1) << 62)}}
	_, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/words", r)
	var path *fs.PathError
	if !errdefs.IsInvalidArgument(err) || !errors.As(err, &path) || !strings.HasPrefix(err.Error(), "write 4611686018427387904 to /sys/fs/cgroup/") || !strings.HasSuffix(err.Error(), ": invalid argument") {
		t.Errorf("got %v", err)
	}
	if left := exists(t, hosttest.Cgroup()+"/words"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestPathsThatLeadAstray(t *testing.T) {
	for path, want := range map[string]string{
		"":                             `cgroup path "": it is empty`,
		"/":                            `cgroup path "/": that is no new cgroup: name one, as in /drydock/box`,
		"/a/../../etc":                 `cgroup path "/a/../../etc": ".." would leave the part of the tree that is given`,
		"../a":                         `cgroup path "../a": ".." would leave the part of the tree that is given`,
		"/a\nb":                        `cgroup path "/a\nb": it holds a zero byte or a newline`,
		"/" + strings.Repeat("x", 256): `cgroup path "/` + strings.Repeat("x", 256) + `": a part of it is longer than 255 bytes`,
	} {
		if _, err := cgroups.Create(t.Context(), path, nil); !errdefs.IsInvalidArgument(err) || err.Error() != want {
			t.Errorf("Create: got  %v\nwant %s", err, want)
		}
		if _, err := cgroups.Load(path); err == nil || err.Error() != want {
			t.Errorf("Load: got  %v\nwant %s", err, want)
		}
	}
}

// What a kernel has no place for is answered with the place, whichever of both
// worlds it is.
func TestLimitsWithoutAPlace(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	for name, test := range map[string]struct {
		r    *specs.LinuxResources
		want []string // one of them
	}{
		"huge pages of a size that is not": {
			&specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "3MB", Limit: 1 << 22}}},
			[]string{"/hugetlb.3MB.max: no such file or directory: this cgroup's hugetlb controller does not have the file", "/hugetlb.3MB.limit_in_bytes: no such file or directory", "this limit needs the hugetlb controller"},
		},
		"an adapter that is not": {
			&specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"nosuch0": {HcaHandles: ptr(uint32(1))}}},
			[]string{"write nosuch0 hca_handle=1 to ", "this limit needs the rdma controller"},
		},
		"real-time quota": {
			&specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimeRuntime: ptr(int64(1) << 40)}},
			[]string{"cgroup v2 has no real-time quota: leave realtimeRuntime and realtimePeriod out", "write 1099511627776 to /sys/fs/cgroup/cpu"},
		},
		"a device's number that is none": {
			&specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadIOPSDevice: []specs.LinuxThrottleDevice{{Rate: 10}}}},
			[]string{"write 0:0 "},
		},
		"a page of swap more than there are numbers": {
			&specs.LinuxResources{Memory: &specs.LinuxMemory{Reservation: ptr(int64(-1)), Swap: ptr(int64(1) << 40)}},
			[]string{"memory+swap limit 1099511627776 needs a memory limit that is not above it", "write 1099511627776 to "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/no-place", test.r)
			if err == nil || !slices.ContainsFunc(test.want, func(want string) bool { return strings.Contains(err.Error(), want) }) {
				t.Errorf("got  %v\nwant one of %q", err, test.want)
			}
			if left := exists(t, hosttest.Cgroup()+"/no-place"); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}
