//go:build linux

package cgroups_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// role names the part that the test binary plays when a test starts it again.
const role = "CGROUPS_TEST_ROLE"

// The main thread stays with the main goroutine. A test that found itself on it
// would have Spawn take another thread, without the CPU that the test chose for
// its own (sched_setaffinity(2)).
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if name := os.Getenv(role); name != "" {
		play(name, os.Args[1:])
		os.Exit(0)
	}
	os.Exit(hosttest.Run(m))
}

// hoard is what the hog does not give back.
var hoard [][]byte

// take takes a megabyte: pages are taken when they are written to.
func take() {
	piece := make([]byte, 1<<20)
	for i := 0; i < len(piece); i += 4096 {
		piece[i] = 1
	}
	hoard = append(hoard, piece)
}

// play is what happens inside a cgroup. Each role says "ready" when it is what
// it should be.
func play(name string, args []string) {
	ready := func() { fmt.Println("ready") }
	switch name {
	case "sleep":
		ready()
		io.Copy(io.Discard, os.Stdin) // until the test ends, or kills
	case "step in": // to what is open from 3 on, as a program that is executed afterwards sees it
		for n, _ := strconv.Atoi(args[0]); n > 0; n-- {
			if _, err := syscall.Write(2+n, []byte("0")); err != nil {
				fmt.Println(err)
			}
		}
		fmt.Println(syscall.Exec("/proc/self/exe", []string{"sleep"}, []string{role + "=sleep"}))
	case "hog":
		ready()
		for {
			take()
		}
	case "hoard":
		for n, _ := strconv.Atoi(args[0]); n > 0; n-- {
			take()
		}
		ready()
		io.Copy(io.Discard, os.Stdin)
	case "spin":
		runtime.GOMAXPROCS(1)
		ready()
		for spinning := true; spinning; { // until the test ends it
		}
	case "fork": // a bomb: children until the kernel says no
		for n := 0; ; n++ {
			child := exec.Command("/proc/self/exe")
			child.Env = []string{role + "=sleep"}
			child.Stdin = os.Stdin
			if err := child.Start(); err != nil {
				fmt.Println(n, errors.Is(err, syscall.EAGAIN))
				ready()
				io.Copy(io.Discard, os.Stdin)
				return
			}
		}
	case "tree": // a child and a grandchild
		depth, _ := strconv.Atoi(args[0])
		if depth > 0 {
			child := exec.Command("/proc/self/exe", strconv.Itoa(depth-1))
			child.Env, child.Stdin, child.Stdout = []string{role + "=tree"}, os.Stdin, os.Stdout
			if err := child.Start(); err != nil {
				fmt.Println(err)
			}
			child.Wait()
			return
		}
		ready()
		io.Copy(io.Discard, os.Stdin)
	case "write":
		if err := playWrite(args[0], args[1]); err != nil {
			fmt.Println(err)
		}
		ready()
	case "send":
		if err := playSend(args[0]); err != nil {
			fmt.Println(err)
		}
		ready()
	case "user":
		playUser()
		ready()
	case "open":
		f, err := os.OpenFile(args[0], os.O_RDWR, 0)
		fmt.Println(err)
		f.Close()
		ready()
	}
}

// child is a role that runs in a cgroup.
type child struct {
	*exec.Cmd
	stdin io.WriteCloser
	said  string // what it printed before it was ready
}

// start runs a role in c and returns when it is ready. It is over, and waited
// for, when the test is.
func start(t *testing.T, c *cgroups.Cgroup, name string, args ...string) *child {
	t.Helper()
	return startAs(t, c, nil, name, args...)
}

// startAs is start for another user.
func startAs(t *testing.T, c *cgroups.Cgroup, user *syscall.Credential, name string, args ...string) *child {
	t.Helper()
	p := &child{Cmd: exec.Command("/proc/self/exe", args...)}
	p.Env = append(os.Environ(), role+"="+name, "GOMAXPROCS=2")
	p.Stderr = os.Stderr
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	p.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	return p.ready(t, stdout, c.StartCommand(t.Context(), p.Cmd))
}

// ready waits until a role that was started is what it should be.
func (p *child) ready(t *testing.T, stdout io.Reader, err error) *child {
	t.Helper()
	if err != nil {
		t.Fatalf("start %s: %v", p.Args, err)
	}
	t.Cleanup(func() { p.end() })
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if lines.Text() == "ready" {
			return p
		}
		p.said += lines.Text() + "\n"
	}
	t.Fatalf("%s ended early: %v, %q", p.Args, p.Wait(), p.said)
	return nil
}

// end lets the role end by closing its input, and kills it if that is not its
// way.
func (p *child) end() {
	p.stdin.Close()
	if p.ProcessState == nil {
		p.Process.Kill()
		p.Wait()
	}
}

// signal waits for the role's end and returns the signal that ended it.
func (p *child) signal(t *testing.T) syscall.Signal {
	t.Helper()
	p.Wait()
	return p.ProcessState.Sys().(syscall.WaitStatus).Signal()
}

// create makes a cgroup below hosttest's, which the test's end removes.
func create(t *testing.T, name string, r *specs.LinuxResources) *cgroups.Cgroup {
	t.Helper()
	c, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/"+name, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, c) })
	return c
}

func remove(t *testing.T, c *cgroups.Cgroup) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Kill(ctx); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := c.Delete(ctx); err != nil {
		t.Error(err)
	}
}

// own returns a process's cgroups as /proc shows them: controller → path.
func own(t *testing.T, pid int) map[string]string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		for controller := range strings.SplitSeq(parts[1], ",") {
			m[controller] = parts[2]
		}
	}
	return m
}

func ptr[T any](v T) *T { return &v }
