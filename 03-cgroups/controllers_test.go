//go:build linux

package cgroups_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestCpusetPinsToACPU(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	r := &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0"}}
	c, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/cpuset", r)
	if errdefs.IsFailedPrecondition(err) {
		// Some kernels have no cpuset; that must be what is said.
		if !strings.Contains(err.Error(), "this limit needs the cpuset controller") {
			t.Error(err)
		}
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, c) })
	p := start(t, c, "sleep")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil || !strings.Contains(string(status), "\nCpus_allowed_list:\t0\n") {
		t.Errorf("%v\n%s", err, status)
	}
}

func TestUnifiedKeysAreFiles(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.CgroupV2)
	c := create(t, "unified", &specs.LinuxResources{
		Pids:    &specs.LinuxPids{Limit: ptr(int64(20))},
		Unified: map[string]string{"memory.high": "33554432", "pids.max": "30"},
	})
	for file, want := range map[string]string{"memory.high": "33554432\n", "pids.max": "30\n"} {
		if b, err := os.ReadFile(c.Paths()[""] + "/" + file); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", file, b, err)
		}
	}
	for key, want := range map[string]string{
		"memory.nosuch": "write 1 to " + c.Paths()[""] + "/memory.nosuch: no such file or directory: ",
		"nosuch.max":    "write 1 to " + c.Paths()[""] + "/nosuch.max: no such file or directory: ",
		"../x.max":      `unified key "../x.max": it must be a file's name, as in memory.high`,
		"pids.max":      "",
	} {
		err := c.Set(t.Context(), &specs.LinuxResources{Unified: map[string]string{key: "1"}})
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s: got %v\nwant %s", key, err, want)
		}
	}
}

func TestUnifiedKeysOfAControllerThatIsElsewhere(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.CgroupV1)
	_, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/elsewhere", &specs.LinuxResources{Unified: map[string]string{"memory.high": "1"}})
	if !errdefs.IsFailedPrecondition(err) {
		t.Errorf("got %v", err)
	}
	if left := exists(t, hosttest.Cgroup()+"/elsewhere"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAParentWithProcessesHasNoChildrenOnV2(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.CgroupV2)
	p := start(t, create(t, "parent", nil), "sleep")
	_, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/parent/child", nil)
	want := fmt.Sprintf("device or resource busy: the cgroup has processes of its own (%d), and cgroup v2 gives a cgroup either processes or children with controllers: move them into a child, or choose another parent", p.Process.Pid)
	if !errdefs.IsFailedPrecondition(err) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got  %v\nwant … %s", err, want)
	}
	if left := exists(t, hosttest.Cgroup()+"/parent/child"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestRareControllers sets limits whose controllers many kernels lack; then the
// error must name the controller, and is the reason for which it is skipped.
func TestRareControllers(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	for controller, test := range map[string]struct {
		r              *specs.LinuxResources
		v1, v2         string // file
		wantV1, wantV2 string
	}{
		"hugetlb": {
			&specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}},
			"hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max", "4194304\n", "4194304\n",
		},
	} {
		t.Run(controller, func(t *testing.T) {
			c, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/rare", test.r)
			if errdefs.IsFailedPrecondition(err) {
				if !strings.Contains(err.Error(), controller) {
					t.Errorf("got %v", err)
				}
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { remove(t, c) })
			path, want := c.Paths()[controller]+"/"+test.v1, test.wantV1
			if c.Paths()[controller] == "" {
				path, want = c.Paths()[""]+"/"+test.v2, test.wantV2
			}
			if b, err := os.ReadFile(path); err != nil || !strings.Contains(string(b), want) {
				t.Errorf("%s: %q, %v; want %q", path, b, err, want)
			}
		})
	}
	t.Run("rdma", func(t *testing.T) {
		adapters, _ := os.ReadDir("/sys/class/infiniband")
		if len(adapters) == 0 {
			t.Skip("requires an RDMA adapter (/sys/class/infiniband is empty)")
		}
		name := adapters[0].Name()
		c := create(t, "rdma", &specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{name: {HcaHandles: ptr(uint32(3))}}})
		b, err := os.ReadFile(c.Paths()[""] + "/rdma.max")
		if err != nil || !strings.Contains(string(b), name+" hca_handle=3") {
			t.Errorf("%q, %v", b, err)
		}
	})
}

func TestIdleAndBurst(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	c := create(t, "idle", &specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: ptr(int64(1)), Quota: ptr(int64(5000)), Burst: ptr(uint64(2000))}})
	dir, burst := c.Paths()["cpu"], "/cpu.cfs_burst_us"
	if dir == "" {
		dir, burst = c.Paths()[""], "/cpu.max.burst"
	}
	for file, want := range map[string]string{"/cpu.idle": "1\n", burst: "2000\n"} {
		if b, err := os.ReadFile(dir + file); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", file, b, err)
		}
	}
}

func TestAnOOMGroupDiesTogether(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.CgroupV2)
	c := create(t, "oom-group", &specs.LinuxResources{Unified: map[string]string{
		"memory.max": "33554432", "memory.swap.max": "0", "memory.low": "8388608", "memory.oom.group": "1",
	}})
	if b, err := os.ReadFile(c.Paths()[""] + "/memory.low"); err != nil || string(b) != "8388608\n" {
		t.Errorf("memory.low: %q, %v", b, err)
	}
	modest := start(t, c, "sleep")
	start(t, c, "hog")
	if s := modest.signal(t); s != syscall.SIGKILL {
		t.Errorf("who took nothing ended with %v, want SIGKILL", s)
	}
}
