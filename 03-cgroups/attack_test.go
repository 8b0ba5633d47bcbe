//go:build linux

package cgroups_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
	"drydock.example/03-cgroups/plot"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

var starved = flag.String("starved", "", "draw the starved neighbour's part of the CPU into this SVG `file`")

// cpuTime is the CPU time of a process so far, by its clock
// (clock_getcpuclockid(3)): to the nanosecond, and only what it got.
func cpuTime(t *testing.T, p *child) time.Duration {
	t.Helper()
	var spent unix.Timespec
	const scheduler = 2 // CPUCLOCK_SCHED
	if err := unix.ClockGettime(int32(^p.Process.Pid)<<3|scheduler, &spent); err != nil {
		t.Fatal(err)
	}
	return time.Duration(spent.Nano())
}

// tolerance is how far from its promise the scheduler may be.
const tolerance = 0.1

// share runs a victim in one cgroup and a crowd of four in another, perhaps the
// same, on one CPU, and returns the victim's part of the CPU time that the five
// got, and its course. Both are counted in that CPU time and not by the clock on
// the wall: what else the machine does makes the test slower, and changes nothing. want is
// the part at which it is content.
func share(t *testing.T, victim, crowd *cgroups.Cgroup, want float64) (part float64, course []plot.Point) {
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
	runners := []*child{start(t, victim, "spin")}
	for range 4 {
		runners = append(runners, start(t, crowd, "spin"))
	}
	spent := func() (mine, everybody time.Duration) {
		for i, p := range runners {
			n := cpuTime(t, p)
			if i == 0 {
				mine = n
			}
			everybody += n
		}
		return mine, everybody
	}
	// The scheduler keeps its promise in the long run: it divides by an estimate of
	// each cgroup's load, which it has to learn, and a machine that is not there
	// for a while (a virtual one) counts that time for whoever ran. So a window
	// in which it is not kept is followed by another.
	const window, windows = 450 * time.Millisecond, 10
	startMine, startAll := spent()
	fromMine, fromAll, beforeMine, beforeAll := startMine, startAll, startMine, startAll
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		mine, everybody := spent()
		if everybody-beforeAll >= 50*time.Millisecond {
			course = append(course, plot.Point{At: everybody - startAll, Value: float64(mine-beforeMine) / float64(everybody-beforeAll)})
			beforeMine, beforeAll = mine, everybody
		}
		if everybody-fromAll < window {
			continue
		}
		part = float64(mine-fromMine) / float64(everybody-fromAll)
		if math.Abs(part-want) <= tolerance || everybody-startAll > windows*window {
			break
		}
		fromMine, fromAll = mine, everybody
	}
	for _, p := range runners {
		p.end()
	}
	return part, course
}

func TestACrowdStarvesANeighbourOnlyWithoutCgroups(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	shares := func(n uint64) *specs.LinuxResources { return &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: &n}} }
	street := create(t, "street", nil)
	picture := plot.Picture{Title: "one victim, a crowd of four, one CPU: parts of the CPU time of all five"}
	for _, test := range []struct {
		name          string
		victim, crowd *cgroups.Cgroup
		want          float64
	}{
		{"all five in one cgroup", street, street, 0.2},
		{"two cgroups of the same weight", create(t, "victim", nil), create(t, "crowd", nil), 0.5},
		{"the victim with four times the shares", create(t, "heavy", shares(4096)), create(t, "light", shares(1024)), 0.8},
	} {
		part, course := share(t, test.victim, test.crowd, test.want)
		if math.Abs(part-test.want) > tolerance {
			t.Errorf("%s: the victim got %.0f%%, want %.0f%%", test.name, 100*part, 100*test.want)
		}
		t.Logf("%s: %.1f%%", test.name, 100*part)
		picture.Span = max(picture.Span, course[len(course)-1].At)
		picture.Panels = append(picture.Panels, plot.Panel{
			Name: test.name, Limit: test.want, Top: 1,
			Format: func(v float64) string { return fmt.Sprintf("%.0f%%", 100*v) },
			Lines:  []plot.Line{{Name: fmt.Sprintf("the victim's part, %.0f%% in all", 100*part), Points: course}},
		})
	}
	if *starved == "" {
		return
	}
	f, err := os.Create(*starved)
	if err == nil {
		err = plot.SVG(f, picture)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}
