//go:build linux

package cgroups_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// playVictim waits for the end of its input, and then for 300 ms of CPU time.
func playVictim(ready func()) {
	ready()
	io.Copy(io.Discard, os.Stdin)
	for {
		var u unix.Rusage
		_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
		if u.Utime.Nano()+u.Stime.Nano() >= (300 * time.Millisecond).Nanoseconds() {
			return
		}
	}
}

// playCrowd takes as much of the CPU as it gets.
func playCrowd(ready func()) {
	ready()
	for began := time.Now(); time.Since(began) < time.Minute; {
	}
}

// share runs a victim in one cgroup and a crowd of four in another, perhaps the
// same, on one CPU, and returns the victim's part of the CPU time while it runs.
func share(t *testing.T, victim, crowd *cgroups.Cgroup) float64 {
	t.Helper()
	// They are born on one CPU: what a thread did on another one would count for
	// its cgroup, in the scheduler's estimate, for seconds.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, first unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	first.Set(0)
	if err := unix.SchedSetaffinity(0, &first); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &all)
	v := start(t, victim, "victim")
	var others []*child
	for range 4 {
		others = append(others, start(t, crowd, "crowd"))
	}
	before := used(t, others)
	v.stdin.Close()
	v.Wait()
	mine, theirs := v.ProcessState.UserTime()+v.ProcessState.SystemTime(), used(t, others)-before
	for _, p := range others {
		p.end()
	}
	return float64(mine) / float64(mine+theirs)
}

// used is the CPU time of processes, from proc_pid_stat(5)'s fields 14 and 15,
// which count hundredths of a second.
func used(t *testing.T, all []*child) time.Duration {
	t.Helper()
	var ticks int
	for _, p := range all {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		for _, f := range fields[11:13] {
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / 100
}

func TestACrowdStarvesANeighbourOnlyWithoutCgroups(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	street := create(t, "street", nil)
	if got := share(t, street, street); got > 0.35 {
		t.Errorf("the attack: five in one cgroup, and the victim got %.0f%%, want a fifth", 100*got)
	}
	// The scheduler divides by an estimate of each cgroup's load, which for young
	// cgroups may be wrong for seconds: what counts is what it comes to.
	best := func(victim, crowd *cgroups.Cgroup, want float64) (got float64) {
		for range 8 {
			if got = share(t, victim, crowd); got >= want {
				break
			}
		}
		return got
	}
	if got := best(create(t, "victim", nil), create(t, "crowd", nil), 0.38); got < 0.38 {
		t.Errorf("the defence: two cgroups of the same weight, and the victim got %.0f%%, want a half", 100*got)
	}
	shares := func(n uint64) *specs.LinuxResources { return &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: &n}} }
	if got := best(create(t, "heavy", shares(4096)), create(t, "light", shares(1024)), 0.55); got < 0.55 {
		t.Errorf("four times the shares gave %.0f%%", 100*got)
	}
}
