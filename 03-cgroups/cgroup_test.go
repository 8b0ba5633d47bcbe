//go:build linux

package cgroups_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// exists returns the directories of a path that are there, in any hierarchy.
func exists(t *testing.T, path string) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		m, err := filepath.Glob(pattern + path)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, m...)
	}
	return found
}

func TestAProcessIsBornInEveryHierarchy(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	c := create(t, "born", nil)
	before := own(t, os.Getpid())
	p := start(t, c, "sleep")
	inside := own(t, p.Process.Pid)
	for controller, dir := range c.Paths() {
		if want := hosttest.Cgroup() + "/born"; inside[controller] != want {
			t.Errorf("%q: /proc shows %s, want %s", controller, inside[controller], want)
		}
		if !strings.HasSuffix(dir, inside[controller]) {
			t.Errorf("%q: Paths has %s, /proc %s", controller, dir, inside[controller])
		}
	}
	// Every thread of ours is where it was.
	tasks, _ := filepath.Glob("/proc/self/task/*/cgroup")
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err == nil && strings.Contains(string(b), "/born") {
			t.Errorf("%s: a thread of ours is still inside:\n%s", task, b)
		}
	}
	for controller, path := range own(t, os.Getpid()) {
		if before[controller] != path {
			t.Errorf("%q: we were moved from %s to %s", controller, before[controller], path)
		}
	}
	pids, err := c.Procs()
	if err != nil || !slices.Equal(pids, []int{p.Process.Pid}) {
		t.Errorf("Procs: %v, %v; want %d", pids, err, p.Process.Pid)
	}
}

func TestEnterMovesARunningProcess(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	p := start(t, create(t, "from", nil), "sleep")
	to := create(t, "to", nil)
	if err := to.Enter(t.Context(), p.Process.Pid); err != nil {
		t.Fatal(err)
	}
	for controller, path := range own(t, p.Process.Pid) {
		if _, counts := to.Paths()[controller]; counts && path != hosttest.Cgroup()+"/to" {
			t.Errorf("%q: in %s", controller, path)
		}
	}
}

// TestAProcessStepsIn: a process gets into the cgroup by descriptors that it
// inherits, with no right and no path of its own to it.
func TestAProcessStepsIn(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	c := create(t, "step", nil)
	dir, err := c.Dir()
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := c.Tasks()
	if err != nil {
		t.Fatal(err)
	}
	p := &child{Cmd: exec.Command("/proc/self/exe", strconv.Itoa(len(tasks)))}
	p.Env, p.Stderr, p.ExtraFiles = []string{role + "=step in"}, os.Stderr, tasks
	p.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if dir != nil {
		defer dir.Close()
		p.SysProcAttr.UseCgroupFD, p.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	err = p.Start()
	for _, f := range tasks {
		f.Close()
	}
	p.ready(t, stdout, err)
	inside := own(t, p.Process.Pid)
	for controller := range c.Paths() {
		if want := hosttest.Cgroup() + "/step"; inside[controller] != want {
			t.Errorf("%q: /proc shows %s, want %s", controller, inside[controller], want)
		}
	}
	if p.said != "" {
		t.Error(p.said)
	}
}

func TestMemoryLimitKillsTheGreedy(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	const limit = 32 << 20
	c := create(t, "memory", &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(limit)), Swap: ptr(int64(limit))}})
	p := start(t, c, "hog")
	if s := p.signal(t); s != syscall.SIGKILL {
		t.Errorf("the hog ended with %v, want SIGKILL", s)
	}
	if n, err := c.OOMKills(); err != nil || n == 0 {
		t.Errorf("OOMKills: %d, %v", n, err)
	}
	stats, err := c.Stats()
	if err != nil {
		t.Fatal(err)
	}
	m := stats.Memory
	if m.Limit != limit || m.OOMKills == 0 || m.Peak > limit+1<<20 || m.Peak < limit/2 || m.SwapLimit != 0 || len(m.Detail) < 10 {
		t.Errorf("memory stats: %+v", m)
	}
}

func TestPidsLimitStopsAForkBomb(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	const limit = 40
	c := create(t, "pids", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(limit))}})
	p := start(t, c, "fork")
	if !strings.HasSuffix(p.said, " true\n") {
		t.Errorf("the bomb ended with %q, want EAGAIN", p.said)
	}
	stats, err := c.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if s := stats.Pids; s.Current > limit || s.Current < limit/4 || s.Limit != limit || s.Failures == 0 {
		t.Errorf("pids stats: %+v", s)
	}
}

func TestALimitBelowWhatAStartNeedsComesAfterIt(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	r := &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(1))}}
	c := create(t, "pids-one", r)
	limit := func() uint64 {
		s, err := c.Stats()
		if err != nil {
			t.Fatal(err)
		}
		return s.Pids.Limit
	}
	if n := limit(); n != 8 {
		t.Errorf("before the start: %d", n)
	}
	start(t, c, "sleep")
	if err := c.Started(t.Context(), r); err != nil || limit() != 1 {
		t.Errorf("after the start: %d, %v", limit(), err)
	}
	// A limit that the start can live under is there from the beginning, and stays.
	r.Pids.Limit = ptr(int64(8))
	if err := c.Started(t.Context(), r); err != nil || limit() != 1 {
		t.Errorf("nothing was held back: %d, %v", limit(), err)
	}
}

func TestCPUQuotaThrottles(t *testing.T) {
	const most, usual = 262144, 1024 // CPU shares
	hosttest.Require(t, hosttest.Root)
	shares := func(n uint64) *specs.LinuxResources { return &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: &n}} }
	r := shares(most)
	r.CPU.Quota, r.CPU.Period = ptr(int64(5000)), ptr(uint64(20000))
	c := create(t, "cpu", r)
	// Who gets less than his quota, as on a busy machine, is never throttled.
	parent, err := cgroups.Load(hosttest.Cgroup())
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Set(t.Context(), shares(most)); err != nil {
		t.Fatal(err)
	}
	defer parent.Set(context.Background(), shares(usual))
	// User-Mode Linux, when it idles, can sleep past the end of a period: the
	// throttled start would stand still for seconds.
	go func() {
		for t.Context().Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
	}()
	began := time.Now()
	p := start(t, c, "spin")
	var stats cgroups.Stats
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for stats.CPU.Throttled < 5 {
		<-tick.C
		if time.Since(began) > time.Minute {
			t.Fatalf("after a minute: %+v", stats.CPU)
		}
		if stats, err = c.Stats(); err != nil {
			t.Fatal(err)
		}
	}
	p.Process.Kill()
	s := stats.CPU
	if s.Usage == 0 || s.Periods < s.Throttled || s.ThrottledTime == 0 {
		t.Errorf("CPU stats: %+v", s)
	}
	// A quarter of a CPU; some kernels notice the end of a quota by their tick.
	if wall := time.Since(began); s.Usage > wall/2+100*time.Millisecond {
		t.Errorf("%v of CPU in %v, with a quarter allowed", s.Usage, wall)
	}
}

func TestSetChangesOnlyWhatIsGiven(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	c := create(t, "set", &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(128 << 20))},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(10))},
	})
	memory := func() cgroups.Stats {
		stats, err := c.Stats()
		if err != nil {
			t.Fatal(err)
		}
		return stats
	}
	if s := memory(); s.Memory.Limit != 64<<20 || s.Memory.SwapLimit != 64<<20 {
		t.Fatalf("%+v", s.Memory)
	}
	// Up beyond the old memory+swap limit, down again, and away.
	for _, limit := range []int64{256 << 20, 32 << 20, -1} {
		if err := c.Set(t.Context(), &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &limit}}); err != nil {
			t.Fatal(err)
		}
		want := uint64(limit)
		if limit < 0 {
			want = cgroups.NoLimit
		}
		if s := memory(); s.Memory.Limit != want || s.Pids.Limit != 10 {
			t.Errorf("after %d: %+v %+v", limit, s.Memory, s.Pids)
		}
	}
	if err := c.Set(t.Context(), &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(-1))}}); err != nil {
		t.Fatal(err)
	}
	if s := memory(); s.Pids.Limit != cgroups.NoLimit {
		t.Errorf("%+v", s.Pids)
	}
}

func TestFreezeStopsAndThawContinues(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	c := create(t, "freeze", nil)
	start(t, c, "spin")
	if err := c.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if frozen, err := c.Frozen(); err != nil || !frozen {
		t.Errorf("Frozen: %v, %v", frozen, err)
	}
	used := func() time.Duration {
		s, err := c.Stats()
		if err != nil {
			t.Fatal(err)
		}
		return s.CPU.Usage
	}
	first := used()
	for range 100 {
		if now := used(); now != first {
			t.Fatalf("it ran on while frozen: %v, then %v", first, now)
		}
	}
	if err := c.Thaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	if frozen, err := c.Frozen(); err != nil || frozen {
		t.Errorf("Frozen after Thaw: %v, %v", frozen, err)
	}
	for began := time.Now(); used() == first; {
		if time.Since(began) > time.Minute {
			t.Fatal("it does not go on")
		}
	}
}

func TestKillEndsTheWholeTree(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	for name, prepare := range map[string]func(*cgroups.Cgroup) error{
		"running": func(*cgroups.Cgroup) error { return nil },
		"frozen":  func(c *cgroups.Cgroup) error { return c.Freeze(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			c := create(t, "kill", nil)
			p := start(t, c, "tree", "2")
			if pids, err := c.Procs(); err != nil || len(pids) != 3 {
				t.Fatalf("Procs: %v, %v; want three", pids, err)
			}
			if err := prepare(c); err != nil {
				t.Fatal(err)
			}
			if err := c.Kill(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s := p.signal(t); s != syscall.SIGKILL {
				t.Errorf("ended with %v", s)
			}
			if err := c.Delete(t.Context()); err != nil {
				t.Fatal(err)
			}
			if left := exists(t, hosttest.Cgroup()+"/kill"); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestDeleteRemovesChildrenAndWaitsForTheLast(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	path := hosttest.Cgroup() + "/delete"
	c := create(t, "delete", nil)
	if len(exists(t, path)) == 0 {
		t.Fatal("Create made nothing")
	}
	// On v2 only a cgroup without children may have processes.
	p := start(t, create(t, "delete/child/grandchild", nil), "sleep")

	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := c.Delete(short)
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "still has processes ("+strconv.Itoa(p.Process.Pid)+")") {
		t.Errorf("Delete of a cgroup in use: %v", err)
	}

	done := make(chan error)
	go func() { done <- c.Delete(t.Context()) }()
	p.end()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if left := exists(t, path); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Errorf("a second Delete: %v", err)
	}
	if _, err := cgroups.Load(path); !errdefs.IsNotFound(err) {
		t.Errorf("Load after Delete: %v", err)
	}
}

func TestASecondCreateOfAPathInUseIsRefused(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	c := create(t, "twice", nil)
	if _, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/twice", nil); err != nil {
		t.Errorf("nobody is in it, so it may be taken over: %v", err)
	}
	p := start(t, c, "sleep")
	_, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/twice", nil)
	if !errdefs.IsAlreadyExists(err) || !strings.Contains(err.Error(), "already exists and has processes ("+strconv.Itoa(p.Process.Pid)+")") {
		t.Errorf("Create with a process inside: %v", err)
	}
	if len(exists(t, hosttest.Cgroup()+"/twice")) == 0 {
		t.Error("the refused Create removed the other's cgroup")
	}
	loaded, err := cgroups.Load(hosttest.Cgroup() + "/twice")
	if err != nil {
		t.Fatal(err)
	}
	if pids, err := loaded.Procs(); err != nil || !slices.Equal(pids, []int{p.Process.Pid}) {
		t.Errorf("Procs of the loaded one: %v, %v", pids, err)
	}
}

func TestDeviceRules(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	deny := specs.LinuxDeviceCgroup{Access: "rwm"}
	kmsg := specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: ptr(int64(1)), Minor: ptr(int64(11)), Access: "r"}
	both := kmsg
	both.Access = "rw"
	for name, test := range map[string]struct {
		rules  []specs.LinuxDeviceCgroup
		device string
		want   string
	}{
		"denied":                    {[]specs.LinuxDeviceCgroup{deny}, "/dev/kmsg", "operation not permitted"},
		"a default one":             {[]specs.LinuxDeviceCgroup{deny}, "/dev/null", "<nil>"},
		"allowed for reading only":  {[]specs.LinuxDeviceCgroup{deny, kmsg}, "/dev/kmsg", "operation not permitted"},
		"allowed":                   {[]specs.LinuxDeviceCgroup{deny, both}, "/dev/kmsg", "<nil>"},
		"the last rule that fits":   {[]specs.LinuxDeviceCgroup{both, deny}, "/dev/kmsg", "operation not permitted"},
		"no rules, as it was there": {nil, "/dev/kmsg", "<nil>"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(test.device); err != nil {
				t.Skip(err)
			}
			c := create(t, "devices", &specs.LinuxResources{Devices: test.rules})
			if p := start(t, c, "open", test.device); !strings.HasSuffix(strings.TrimSpace(p.said), test.want) {
				t.Errorf("open says %q, want %q", p.said, test.want)
			}
		})
	}
	t.Run("Set replaces", func(t *testing.T) {
		c := create(t, "devices", &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{deny}})
		if err := c.Set(t.Context(), &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{deny, both}}); err != nil {
			t.Fatal(err)
		}
		if p := start(t, c, "open", "/dev/kmsg"); p.said != "<nil>\n" {
			t.Errorf("open says %q", p.said)
		}
	})
}

func TestCreateInARaceForTheParent(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	const n = 8
	made := make(chan *cgroups.Cgroup, n)
	for i := range n {
		go func() {
			c, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/race/deep/"+strconv.Itoa(i), nil)
			if err != nil {
				t.Error(err)
			}
			made <- c
		}()
	}
	for range n {
		if c := <-made; c != nil {
			remove(t, c)
		}
	}
	c, err := cgroups.Load(hosttest.Cgroup() + "/race")
	if err != nil {
		t.Fatal(err)
	}
	remove(t, c)
}

func TestALimitBelowWhatIsInUseIsRefusedOnRequest(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	c := create(t, "in-use", nil)
	start(t, c, "hoard", "32")
	check := func(limit int64) error {
		return c.Set(t.Context(), &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, CheckBeforeUpdate: ptr(true)}})
	}
	if err := check(16 << 20); !errdefs.IsFailedPrecondition(err) || !strings.HasPrefix(err.Error(), "memory limit 16777216 is below the ") {
		t.Errorf("got %v", err)
	}
	if n, err := c.OOMKills(); err != nil || n != 0 {
		t.Errorf("%d killed, %v", n, err)
	}
	if err := check(512 << 20); err != nil {
		t.Error(err)
	}
}
