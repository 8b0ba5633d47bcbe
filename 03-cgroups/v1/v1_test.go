//go:build linux

package v1

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/03-cgroups/cgroupfs"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// sleeper is set in the environment of a copy of the test binary that does
// nothing but live until its input ends.
const sleeper = "CGROUPS_TEST_SLEEPER"

func TestMain(m *testing.M) {
	if os.Getenv(sleeper) != "" {
		fmt.Println("ready")
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(hosttest.Run(m))
}

// create makes a cgroup in v1's hierarchies alone, also on a hybrid host.
func create(t *testing.T, name string) *Cgroup {
	t.Helper()
	hosttest.Require(t, hosttest.Root, hosttest.CgroupV1)
	mounts, err := cgroupfs.ReadMounts()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Locate(mounts.V1, hosttest.Cgroup()+"/"+name)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Kill(context.Background()); err != nil && !errdefs.IsNotFound(err) {
			t.Error(err)
		}
		if err := c.Delete(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

func start(t *testing.T, c *Cgroup) (p *exec.Cmd, end func()) {
	t.Helper()
	p = exec.Command("/proc/self/exe")
	p.Env = append(os.Environ(), sleeper+"=1")
	stdin, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Spawn(t.Context(), p.Start); err != nil {
		t.Fatal(err)
	}
	end = func() {
		stdin.Close()
		if p.ProcessState == nil {
			p.Wait()
		}
	}
	t.Cleanup(func() { p.Process.Kill(); end() })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	return p, end
}

func TestFreezeIsSeenInTheState(t *testing.T) {
	c := create(t, "v1-freeze")
	p, _ := start(t, c)
	if err := c.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := c.Paths()["freezer"]
	if state, err := cgroupfs.ReadString(dir + "/freezer.state"); err != nil || state != "FROZEN" {
		t.Errorf("freezer.state: %s, %v", state, err)
	}
	// A frozen process is sent the signal and does not get it.
	if err := p.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if pids, err := c.Procs(); err != nil || !slices.Equal(pids, []int{p.Process.Pid}) {
		t.Errorf("Procs: %v, %v", pids, err)
	}
	if err := (&Cgroup{hierarchies: c.hierarchies}).Make(t.Context()); !errdefs.IsAlreadyExists(err) {
		t.Errorf("Make over a frozen one: %v", err)
	}
	if err := c.Thaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Wait()
	if s := p.ProcessState.Sys().(syscall.WaitStatus).Signal(); s != unix.SIGTERM {
		t.Errorf("ended with %v", s)
	}
}

func TestAnEmptyFrozenCgroupIsNotTakenOver(t *testing.T) {
	c := create(t, "v1-frozen")
	if err := c.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := (&Cgroup{hierarchies: c.hierarchies}).Make(t.Context())
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "unexpectedly frozen): `echo THAWED > ") {
		t.Errorf("got %v", err)
	}
}

func TestKillSparesWhoOnlySpawns(t *testing.T) {
	c := create(t, "v1-kill")
	p, _ := start(t, c)
	// A thread of ours is inside, so cgroup.procs lists this process too.
	err := c.Spawn(t.Context(), func() error {
		pids, err := c.Procs()
		if err != nil || !slices.Contains(pids, os.Getpid()) {
			t.Errorf("Procs: %v, %v; want %d in it", pids, err, os.Getpid())
		}
		for _, pid := range pids {
			if holds := c.holds(pid); holds != (pid == p.Process.Pid) {
				t.Errorf("holds(%d): %v", pid, holds)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Wait()
	if s := p.ProcessState.Sys().(syscall.WaitStatus).Signal(); s != unix.SIGKILL {
		t.Errorf("ended with %v", s)
	}
}

func TestDeleteWaitsWithoutAnEvent(t *testing.T) {
	c := create(t, "v1-delete")
	p, end := start(t, c)
	short, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	err := c.Delete(short)
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), fmt.Sprintf("still has processes (%d)", p.Process.Pid)) {
		t.Errorf("got %v", err)
	}
	done := make(chan error)
	go func() { done <- c.Delete(t.Context()) }()
	end()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if c.Exists() {
		t.Error("it is still there")
	}
}

func TestACpusetIsFilledFromItsParent(t *testing.T) {
	c := create(t, "v1-cpuset/deep/box")
	dir, err := c.dir("cpuset")
	if err != nil {
		t.Skip(err)
	}
	for _, file := range []string{"/cpuset.cpus", "/cpuset.mems"} {
		if s, err := cgroupfs.ReadString(dir + file); err != nil || s == "" {
			t.Errorf("%s: %q, %v", file, s, err)
		}
	}
	t.Cleanup(func() { // after the box itself
		mounts, _ := cgroupfs.ReadMounts()
		parent, err := Locate(mounts.V1, hosttest.Cgroup()+"/v1-cpuset")
		if err == nil {
			err = parent.Delete(context.Background())
		}
		if err != nil {
			t.Error(err)
		}
	})
}

func TestDeviceRulesAsV1WritesThem(t *testing.T) {
	n := func(i int64) *int64 { return &i }
	for want, rule := range map[string]specs.LinuxDeviceCgroup{
		"a":         {Access: "rwm"},
		"c 1:3 rw":  {Type: "c", Major: n(1), Minor: n(3), Access: "rw"},
		"b 8:* rwm": {Type: "b", Major: n(8)},
		"c *:* m":   {Type: "c", Major: n(-1), Minor: n(-1), Access: "m"},
	} {
		if got, err := deviceRule(rule); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	_, err := deviceRule(specs.LinuxDeviceCgroup{Type: "a", Access: "r"})
	if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "type a is every device and every access on cgroup v1") {
		t.Errorf("got %v", err)
	}
}

func TestWhatOnlyV2Has(t *testing.T) {
	c := create(t, "v1-unified")
	err := c.Set(t.Context(), &specs.LinuxResources{Unified: map[string]string{"memory.high": "1"}})
	if !errdefs.IsFailedPrecondition(err) || !strings.HasPrefix(err.Error(), "unified keys name files of cgroup v2") {
		t.Errorf("got %v", err)
	}
}
