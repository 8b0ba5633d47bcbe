//go:build linux

package cgroups_test

import (
	"fmt"
	"os"
	"strings"
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
