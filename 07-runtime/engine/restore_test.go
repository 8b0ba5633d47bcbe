//go:build linux

package engine

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	cgroups "drydock.example/03-cgroups"
)

// envEngine tells a re-executed test binary to be an engine that is killed: its options as JSON.
const envEngine = "DRYDOCK_ENGINE_TEST"

// runEngine opens an engine, makes and starts the containers that are asked for line by line (a
// request as JSON), answers each with its ID, and waits to be killed.
func runEngine(options string) {
	var opt Options
	err := json.Unmarshal([]byte(options), &opt)
	var e *Engine
	if err == nil {
		e, err = Open(context.Background(), opt)
	}
	for in := bufio.NewScanner(os.Stdin); err == nil && in.Scan(); {
		var q struct {
			Request container.CreateRequest
			Start   bool
		}
		if err = json.Unmarshal(in.Bytes(), &q); err != nil {
			break
		}
		var r container.CreateResponse
		if r, err = e.ContainerCreate(context.Background(), "", q.Request); err == nil && q.Start {
			err = e.ContainerStart(context.Background(), r.ID)
		}
		fmt.Println(r.ID)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// mortal is an engine in a process of its own.
type mortal struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// openMortal opens an engine in a process of its own. The store is filled before.
func openMortal(t *testing.T, opt Options) *mortal {
	t.Helper()
	e, err := Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	options, err := json.Marshal(struct{ Root, State, Runtime, Shim, CgroupParent string }{
		opt.Root, opt.State, opt.Runtime, opt.Shim, opt.CgroupParent,
	})
	if err != nil {
		t.Fatal(err)
	}
	m := &mortal{cmd: exec.Command("/proc/self/exe")}
	m.cmd.Env = append(os.Environ(), envEngine+"="+string(options))
	m.cmd.Stderr = os.Stderr
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.out = bufio.NewScanner(out)
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	return m
}

func (m *mortal) create(t *testing.T, req container.CreateRequest, start bool) (id string) {
	t.Helper()
	q := struct {
		Request container.CreateRequest
		Start   bool
	}{req, start}
	if err := json.NewEncoder(m.in).Encode(q); err != nil {
		t.Fatal(err)
	}
	if !m.out.Scan() || m.out.Text() == "" {
		t.Fatalf("the engine's process answers %q, %v", m.out.Text(), m.out.Err())
	}
	return m.out.Text()
}

// kill ends the engine as kill -9 does.
func (m *mortal) kill() {
	m.cmd.Process.Kill()
	m.cmd.Wait()
}

// An engine is killed while containers run, have ended since, or were made and never started. The
// next one knows each as it is.
func TestEngineIsKilled(t *testing.T) {
	opt := options(t)
	m := openMortal(t, opt)
	req := request("run")
	req.HostConfig.NetworkMode = "bridge"
	runs := m.create(t, req, true)
	serves := m.create(t, published(request("serve", "80")), true)
	waits := request("cat")
	waits.Config.OpenStdin = true
	toRemove := request("run")
	toRemove.HostConfig.AutoRemove = true
	removed := m.create(t, toRemove, true)
	ends := m.create(t, request("run"), true)
	created := m.create(t, waits, false)
	m.kill()

	// What an engine that was killed in the middle of a creation leaves.
	half := filepath.Join(opt.Root, "containers", strings.Repeat("ab", 32))
	if err := os.MkdirAll(filepath.Join(half, "upper"), 0o700); err != nil {
		t.Fatal(err)
	}
	// Two end while nobody is there.
	for _, id := range []string{ends, removed} {
		endBehindTheEngine(t, opt, id)
	}

	e := openWith(t, opt)
	for id, want := range map[string]container.ContainerState{
		runs: container.StateRunning, serves: container.StateRunning, ends: container.StateExited, created: container.StateCreated,
	} {
		if s := stateOf(t, e, id); s.Status != want {
			t.Errorf("%s: %+v, want %s", id, s, want)
		}
	}
	if s := stateOf(t, e, ends); s.ExitCode != 137 || s.FinishedAt == "" {
		t.Errorf("ended meanwhile: %+v", s)
	}
	if _, err := e.find(removed); !errdefs.IsNotFound(err) {
		t.Errorf("it was to be removed at its end: %v", err)
	}
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("the half-made container: %v", err)
	}

	// It is found, has its log, and can be stopped.
	awaitLine(t, e, runs, "running")
	if s := stateOf(t, e, runs); unix.Kill(s.Pid, 0) != nil {
		t.Errorf("pid %d", s.Pid)
	}
	if err := e.ContainerStop(t.Context(), runs, "", nil); err != nil {
		t.Fatal(err)
	}
	if out, _ := logs(t, e, runs, LogOptions{Stdout: true, Tail: -1}); out != "running\nterminated\n" || stateOf(t, e, runs).ExitCode != 3 {
		t.Errorf("its log is %q, its state %+v", out, stateOf(t, e, runs))
	}

	// The published port still answers, and is still its own.
	port := hostPort(t, e, serves)
	if got := dial(t, port); got != "hello\n" {
		t.Errorf("port %d says %q", port, got)
	}
	if l, err := net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
		l.Close()
		t.Errorf("port %d is not held any more", port)
	}
	start(t, e, created)
}

// An engine is killed anywhere in the middle of starting containers. The next one agrees with the
// kernel about each, can start what does not run, and can remove all.
func TestEngineIsKilledWhileItStarts(t *testing.T) {
	opt := options(t)
	for _, after := range []time.Duration{0, 2, 6, 12, 20, 35} {
		m := openMortal(t, opt)
		req := request("run")
		req.HostConfig.NetworkMode = "bridge"
		first := m.create(t, req, true)
		for range 3 {
			if err := json.NewEncoder(m.in).Encode(map[string]any{"Request": req, "Start": true}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(after * time.Millisecond) // not to wait for anything: to hit another moment each time
		m.kill()

		e, err := Open(t.Context(), opt)
		if err != nil {
			t.Fatalf("after %d ms: %v", after, err)
		}
		if !stateOf(t, e, first).Running {
			t.Errorf("after %d ms: the one that ran does not any more: %+v", after, stateOf(t, e, first))
		}
		e.unplugging.Wait()
		plugged, err := e.bridge.network.Endpoints(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		running := 0
		for _, c := range e.all() {
			s := stateOf(t, e, c.id)
			if s.Running {
				running++
				if unix.Kill(s.Pid, 0) != nil {
					t.Errorf("after %d ms: %+v, and there is no such process", after, s)
				}
				continue
			}
			if _, err := cgroups.Load(filepath.Join(opt.CgroupParent, c.id)); !errdefs.IsNotFound(err) {
				t.Errorf("after %d ms: %+v, and its cgroup is there: %v", after, s, err)
			}
			start(t, e, c.id)
		}
		if len(plugged) != running {
			t.Errorf("after %d ms: %d containers run, %d cables are plugged in", after, running, len(plugged))
		}
		for _, c := range e.all() {
			if err := e.ContainerRemove(t.Context(), c.id, true, false); err != nil {
				t.Errorf("after %d ms: %v", after, err)
			}
		}
		if err := e.Close(); err != nil {
			t.Errorf("after %d ms: %v", after, err)
		}
		for _, dir := range []string{opt.Root, opt.State} {
			if left, err := os.ReadDir(filepath.Join(dir, "containers")); err != nil || len(left) > 0 {
				t.Errorf("after %d ms: left in %s: %v, %v", after, dir, left, err)
			}
		}
	}
}

// A pair that was made and not yet plugged in when its engine was killed is removed.
func TestCableThatWasBeingPluggedIn(t *testing.T) {
	opt := options(t)
	e, err := Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	<-e.bridge.ready
	first := e.bridge.network.Gateway.Next()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "veth-" + hex.EncodeToString(first.AsSlice())
	veth := netlink.NewVeth(attrs)
	veth.PeerName = "peer0"
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	e = openWith(t, opt)
	req := request("exit", "0")
	req.HostConfig.NetworkMode = "bridge"
	if _, _, stderr, code := runToEnd(t, e, req); code != 0 {
		t.Errorf("%d, %q", code, stderr)
	}
}

// endBehindTheEngine kills a container's first process and waits until its shim has gone.
func endBehindTheEngine(t *testing.T, opt Options, id string) {
	t.Helper()
	cgroup, err := cgroups.Load(filepath.Join(opt.CgroupParent, id))
	if err != nil {
		t.Fatal(err)
	}
	pids, err := cgroup.Procs()
	if err != nil || len(pids) == 0 {
		t.Fatalf("processes of %s: %v, %v", id, pids, err)
	}
	shim, err := unix.PidfdOpen(parent(t, pids[0]), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(shim)
	if err := unix.Kill(pids[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitProcess(t, shim)
}

// awaitProcess waits for the end of the process of a pidfd.
func awaitProcess(t *testing.T, pidfd int) {
	t.Helper()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 20_000)
	if err != nil || n != 1 {
		t.Fatalf("the process has not ended: %v", err)
	}
}

// parent is the parent of a process: the shim, for a container's first one.
func parent(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	ppid, err := strconv.Atoi(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	return ppid
}

// A shim is killed: what it watched over is ended, and recorded as killed.
func TestShimIsKilled(t *testing.T) {
	for _, engineRuns := range []bool{true, false} {
		t.Run(fmt.Sprintf("engine runs %v", engineRuns), func(t *testing.T) {
			opt := options(t)
			req := published(request("serve", "80"))
			var e *Engine
			var id string
			if engineRuns {
				e = openWith(t, opt)
				id = create(t, e, "", req)
				start(t, e, id)
				awaitLine(t, e, id, "serving")
			} else {
				m := openMortal(t, opt)
				id = m.create(t, req, true)
				m.kill()
			}
			cgroup, err := cgroups.Load(filepath.Join(opt.CgroupParent, id))
			if err != nil {
				t.Fatal(err)
			}
			pids, err := cgroup.Procs()
			if err != nil || len(pids) == 0 {
				t.Fatalf("%v, %v", pids, err)
			}
			program, err := unix.PidfdOpen(pids[0], 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(program)
			if err := unix.Kill(parent(t, pids[0]), unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if !engineRuns {
				e = openWith(t, opt)
			}
			if code := wait(t, e, id, ""); code != 137 {
				t.Errorf("exit code %d", code)
			}
			awaitProcess(t, program)
			if _, err := cgroups.Load(filepath.Join(opt.CgroupParent, id)); !errdefs.IsNotFound(err) {
				t.Errorf("its cgroup is left: %v", err)
			}
			e.unplugging.Wait()
			if plugged, err := e.bridge.network.Endpoints(t.Context()); err != nil || len(plugged) > 0 {
				t.Errorf("its cable is left: %v, %v", plugged, err)
			}
			// It can be started again.
			before, _ := logs(t, e, id, LogOptions{Stdout: true, Tail: -1})
			start(t, e, id)
			awaitLines(t, e, id, "serving", strings.Count(before, "serving\n")+1)
			if got := dial(t, hostPort(t, e, id)); got != "hello\n" {
				t.Errorf("started again, it says %q", got)
			}
		})
	}
}

// dial returns what a port of the host says.
func dial(t *testing.T, port int) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
