//go:build linux

package cgroups

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/doctor"
	"drydock.example/01-chroot/hosttest"
)

// Whoever reads this has a machine on which the chapter's tests run, so the
// checks of what they need must say so.
func TestDoctorFindsThisMachineFit(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	for _, c := range Checks() {
		if c.Chapter != 3 || c.Name == "" || c.For == "" {
			t.Errorf("check %+v", c)
		}
		if r := c.Run(t.Context()); r.Status == doctor.Missing || r.Status == doctor.Unknown {
			t.Errorf("%s: %+v", c.Name, r)
		}
	}
}

func TestDoctorSaysWhatTheHostLacks(t *testing.T) {
	all := map[string]bool{"memory": true, "cpu": true, "pids": true, "cpuset": true, "blkio": true, "io": true}
	without := func(name string) map[string]bool {
		m := map[string]bool{}
		for k, v := range all {
			m[k] = v && k != name
		}
		return m
	}
	// As /proc/cgroups has it on a Raspberry Pi.
	const raspberry = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t0\t60\t1\nmemory\t0\t60\t0\n"
	for _, c := range []struct {
		name   string
		got    doctor.Result
		status doctor.Status
		found  string
		why    string
		cure   string
	}{
		{"v2", modeFound(V2, nil), doctor.OK, "v2", "", ""},
		{"hybrid", modeFound(Hybrid, nil), doctor.Limited, "hybrid: the controllers are on v1", "booted with v1", "systemd.unified_cgroup_hierarchy=1"},
		{"no hierarchy", modeFound(0, errors.New("no cgroup file system is mounted here")), doctor.Missing, "no cgroup file system is mounted here", "mounted", "mount -t cgroup2"},
		{"all", controllersFound(host{mode: V2, here: all}, nil), doctor.OK, "memory cpu pids cpuset io", "", ""},
		{"v1 has another name", controllersFound(host{mode: V1, here: without("io")}, nil), doctor.OK, "memory cpu pids cpuset blkio", "", ""},
		{"memory switched off", controllersFound(host{mode: V2, here: without("memory"), builtIn: builtIn(raspberry)}, nil), doctor.Limited,
			"no memory", "memory was switched off when the kernel was booted", "cgroup_enable=memory"},
		{"not built in", controllersFound(host{mode: V1, here: without("pids"), builtIn: map[string]bool{}}, nil), doctor.Limited,
			"no pids", "pids is not built into this kernel", "distribution's kernel"},
		{"not mounted", controllersFound(host{mode: V1, here: without("cpuset"), builtIn: all}, nil), doctor.Limited,
			"no cpuset", "cpuset is not mounted", "sudo mkdir /sys/fs/cgroup/cpuset && sudo mount -t cgroup -o cpuset cgroup /sys/fs/cgroup/cpuset"},
		{"not delegated", controllersFound(host{mode: V2, user: 1000, here: without("cpu"), builtIn: all}, nil), doctor.Limited,
			"no cpu", "cpu is not delegated to this user", "Delegate=cpu cpuset io memory pids"},
		{"taken by v1", controllersFound(host{mode: V2, here: without("cpu"), builtIn: all}, nil), doctor.Limited,
			"no cpu", "cpu is on a v1 hierarchy", "grep cpu /proc/self/mountinfo"},
		{"unreadable", controllersFound(host{}, os.ErrPermission), doctor.Unknown, "permission denied", "", ""},
		{"read-only", createdFound(&os.PathError{Op: "mkdir", Path: "/sys/fs/cgroup/x", Err: unix.EROFS}), doctor.Missing,
			"mkdir /sys/fs/cgroup/x: read-only file system", "read-only", "docker run --privileged"},
		{"processes in the root", createdFound(&os.PathError{Op: "write", Path: "x", Err: unix.EBUSY}), doctor.Missing,
			"write x: device or resource busy", "either processes or children", "mkdir /sys/fs/cgroup/init"},
		{"no part of the tree", delegatedFound("/sys/fs/cgroup/a", unix.EACCES), doctor.Limited,
			"/sys/fs/cgroup/a: permission denied", "delegated", "systemd-run --user"},
		{"no swap", swapFound(host{}, nil), doctor.Limited, "not counted", "CONFIG_SWAP", "swapaccount=1"},
		{"no pressure", pressureFound(&os.PathError{Op: "open", Path: "/proc/pressure/memory", Err: unix.ENOENT}), doctor.Limited,
			"open /proc/pressure/memory: no such file or directory", "CONFIG_PSI", "psi=1"},
		{"pressure is off", pressureFound(unix.EOPNOTSUPP), doctor.Limited, "operation not supported", "CONFIG_PSI_DEFAULT_DISABLED", "psi=1"},
	} {
		r := c.got
		if r.Status != c.status || r.Found != c.found || !strings.Contains(r.Why, c.why) {
			t.Errorf("%s: %s, %q, because %q: want %s, %q, %q", c.name, r.Status, r.Found, r.Why, c.status, c.found, c.why)
		}
		if c.cure != "" && !slices.ContainsFunc(r.Cure, func(s string) bool { return strings.Contains(s, c.cure) }) {
			t.Errorf("%s: the cures are %q: want one with %q", c.name, r.Cure, c.cure)
		}
	}
}

// What an ordinary user may write is what the kernel says.
func TestDoctorAsksForDelegation(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	if r := delegatedFound(dir, unix.Access(dir, unix.W_OK)); r.Status != doctor.OK {
		t.Errorf("a directory of our own: %+v", r)
	}
}
