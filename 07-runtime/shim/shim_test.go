//go:build linux

package shim_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/explain"
	"drydock.example/01-chroot/hosttest"
	"drydock.example/07-runtime/bundletest"
	"drydock.example/07-runtime/shim"
)

func TestMain(m *testing.M) {
	if os.Getenv("SHIM_TEST_PARENT") != "" {
		launchAndDie()
	}
	os.Exit(hosttest.Run(m))
}

// runtimes are the OCI runtimes that the tests run under: ours, and others
// where they are installed.
func runtimes(t *testing.T) map[string]string {
	t.Helper()
	hosttest.Require(t, hosttest.Root)
	found := map[string]string{"drydock-runtime": bundletest.Build(t, "cmd/drydock-runtime")}
	for _, name := range []string{"runc", "crun"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if name == "crun" {
			path = crunOnHybrid(t, path)
		}
		found[name] = path
	}
	return found
}

// crunOnHybrid hides the v2 hierarchy from a crun that refuses a host with both.
func crunOnHybrid(t *testing.T, crun string) string {
	const unified = "/sys/fs/cgroup/unified"
	if _, err := os.Stat(unified); err != nil {
		return crun
	}
	script := filepath.Join(t.TempDir(), "crun")
	text := fmt.Sprintf("#!/bin/sh\nexec unshare -m --propagation private sh -c 'mount --bind %s %s && exec %s \"$@\"' crun \"$@\"\n", t.TempDir(), unified, crun)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return script
}

func forEachRuntime(t *testing.T, test func(t *testing.T, runtime string)) {
	for name, path := range runtimes(t) {
		t.Run(name, func(t *testing.T) { test(t, path) })
	}
}

// a container under test: its layers, its shim, and how to launch it.
type container struct {
	shim.LaunchOptions
	t      testing.TB
	client *shim.Client
}

func newContainer(t testing.TB, runtime string, args ...string) *container {
	t.Helper()
	// Overlay wants an upper directory that is not on overlay itself.
	dir, err := os.MkdirTemp("/run", "shim-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	id := filepath.Base(dir)
	lower, upper, work, bundle := filepath.Join(dir, "lower"), filepath.Join(dir, "upper"), filepath.Join(dir, "work"), filepath.Join(dir, "bundle")
	for _, d := range []string{lower, upper, work, bundle} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	bundletest.Rootfs(t, lower)
	return &container{t: t, LaunchOptions: shim.LaunchOptions{
		Dir:  bundle,
		Shim: bundletest.Build(t, "cmd/drydock-shim"),
		Spec: bundletest.Spec(hosttest.Cgroup()+"/"+id, args...),
		Config: shim.Config{
			ID: id, Runtime: runtime, RuntimeRoot: filepath.Join(dir, "runtime"),
			Rootfs: &shim.Rootfs{Lower: []string{lower}, Upper: upper, Work: work},
			Log:    filepath.Join(dir, "log"), Exit: filepath.Join(dir, "exit.json"),
		},
	}}
}

// within is a context for what must not take long.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (c *container) create() {
	c.t.Helper()
	var err error
	if c.client, err = shim.Launch(within(c.t), c.LaunchOptions); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.client.Created(within(c.t)); err != nil {
		c.t.Fatalf("created: %v\n%s", err, c.complaints())
	}
}

func (c *container) complaints() string {
	b, _ := os.ReadFile(filepath.Join(c.Dir, shim.LogFile))
	return string(b)
}

func (c *container) start() {
	c.t.Helper()
	if err := c.client.Start(within(c.t)); err != nil {
		c.t.Fatalf("start: %v", err)
	}
}

func (c *container) wait() shim.Exit {
	c.t.Helper()
	exit, err := c.client.Wait(within(c.t))
	if err != nil {
		c.t.Fatalf("wait: %v\n%s", err, c.complaints())
	}
	if s := c.complaints(); s != "" {
		c.t.Errorf("the shim complains: %s", s)
	}
	return exit
}

func (c *container) attach(opt shim.AttachOptions) *net.UnixConn {
	c.t.Helper()
	conn, err := c.client.Attach(within(c.t), opt)
	if err != nil {
		c.t.Fatalf("attach: %v", err)
	}
	c.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// logged returns what the log holds of each stream, and the number of records.
func (c *container) logged() (out, err string, records int) {
	c.t.Helper()
	f, openErr := os.Open(c.Log)
	if openErr != nil {
		c.t.Fatal(openErr)
	}
	defer f.Close()
	var outs, errs strings.Builder
	for d := json.NewDecoder(f); ; records++ {
		var r struct {
			Log, Stream string
			Time        time.Time
		}
		if e := d.Decode(&r); e == io.EOF {
			return outs.String(), errs.String(), records
		} else if e != nil {
			c.t.Fatal(e)
		}
		if len(r.Log) > 16<<10 || time.Since(r.Time).Abs() > time.Minute {
			c.t.Fatalf("record of %d bytes at %v", len(r.Log), r.Time)
		}
		if r.Stream == "stdout" {
			outs.WriteString(r.Log)
		} else {
			errs.WriteString(r.Log)
		}
	}
}

// unframe takes Docker's frames apart.
func unframe(t *testing.T, r io.Reader) (out, err string) {
	t.Helper()
	var b [3]bytes.Buffer
	for {
		var header [8]byte
		if _, e := io.ReadFull(r, header[:]); e == io.EOF {
			return b[1].String(), b[2].String()
		} else if e != nil {
			t.Fatalf("frame header: %v after %d bytes", e, b[1].Len())
		}
		if _, e := io.CopyN(&b[header[0]], r, int64(binary.BigEndian.Uint32(header[4:]))); e != nil {
			t.Fatalf("frame: %v", e)
		}
	}
}

func TestOutputReachesLogAndClient(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, runtime string) {
		c := newContainer(t, runtime, "both")
		c.create()
		conn := c.attach(shim.AttachOptions{Stdout: true, Stderr: true})
		c.start()
		out, err := unframe(t, conn)
		if out != "to stdout\n" || err != "to stderr\n" {
			t.Errorf("attached client got %q and %q", out, err)
		}
		if exit := c.wait(); exit.Code != 0 || exit.Signal != 0 || time.Since(exit.FinishedAt) > time.Minute {
			t.Errorf("exit = %+v", exit)
		}
		if out, err, _ := c.logged(); out != "to stdout\n" || err != "to stderr\n" {
			t.Errorf("the log has %q and %q", out, err)
		}
		c.nothingIsLeft()
	})
}

// nothingIsLeft checks that an ended container has left its exit file and no
// more. hosttest looks for processes, mounts and cgroups.
func (c *container) nothingIsLeft() {
	c.t.Helper()
	if _, err := shim.ReadExit(c.Exit); err != nil {
		c.t.Error(err)
	}
	if entries, _ := os.ReadDir(c.RuntimeRoot); len(entries) != 0 {
		c.t.Errorf("the runtime's state is still there: %v", entries)
	}
	if entries, _ := os.ReadDir(filepath.Join(c.Dir, shim.RootfsDir)); len(entries) != 0 {
		c.t.Errorf("the root file system is visible from here: %v", entries)
	}
	if _, err := shim.Dial(c.Dir); !errdefs.IsUnavailable(err) {
		c.t.Errorf("dial after the end: %v", err)
	}
}

func TestExitStatus(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, runtime string) {
		for _, test := range []struct {
			args         []string
			code, signal int
		}{
			{[]string{"exit", "0"}, 0, 0},
			{[]string{"exit", "42"}, 42, 0},
			{[]string{"exit", "255"}, 255, 0},
		} {
			c := newContainer(t, runtime, test.args...)
			c.create()
			c.start()
			if exit := c.wait(); exit.Code != test.code || exit.Signal != test.signal {
				t.Errorf("%v: exit = %+v", test.args, exit)
			}
		}
		c := newContainer(t, runtime, "signals")
		c.create()
		c.start()
		if err := c.client.Signal(within(t), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if exit := c.wait(); exit.Code != 137 || exit.Signal != 9 || exit.OOMKilled {
			t.Errorf("after SIGKILL: exit = %+v", exit)
		}
	})
}

func TestMemoryLimitIsTold(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, runtime string) {
		c := newContainer(t, runtime, "eat")
		c.Spec.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(32 << 20))}}
		c.create()
		c.start()
		if exit := c.wait(); exit.Code != 137 || exit.Signal != 9 || !exit.OOMKilled {
			t.Errorf("exit = %+v", exit)
		}
	})
}

// TestExplainReachesFromTheInit holds that what happens in the shim, in the
// runtime and in the container's init is told to who launched the shim.
func TestExplainReachesFromTheInit(t *testing.T) {
	c := newContainer(t, runtimes(t)["drydock-runtime"], "echo", "hello")
	var told lockedBuffer
	ctx := explain.With(within(t), explain.Text(&told))
	var err error
	if c.client, err = shim.Launch(ctx, c.LaunchOptions); err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.Created(ctx); err != nil {
		t.Fatal(err)
	}
	c.start()
	c.wait()
	last := -1
	for _, want := range []struct {
		chapter int
		call    string
	}{
		{7, "CLONE_NEWNS"}, {7, "prctl(PR_SET_CHILD_SUBREAPER, 1)"}, {4, "fsopen(\"overlay\""}, {7, "execve(\"" + c.Runtime},
		{2, "CLONE_NEWPID"}, {2, "pivot_root"}, {2, "execve(\"" + bundletest.Program},
		{3, "rmdir"}, // the cgroup is made beside the process, so its mkdir has no place in this order
	} {
		i := -1
		for start := time.Now(); i < 0 && time.Since(start) < 10*time.Second; {
			i = strings.Index(told.String(), want.call)
		}
		if i < last {
			t.Errorf("%q is missing, or told too early", want.call)
		}
		last = i
		if !strings.Contains(told.String(), fmt.Sprintf("  ch%d  ", want.chapter)) {
			t.Errorf("nothing of chapter %d", want.chapter)
		}
	}
	if t.Failed() {
		t.Log(told.String())
	}
}

// lockedBuffer is a buffer that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestSignalsReachTheProcess(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, runtime string) {
		c := newContainer(t, runtime, "signals")
		c.create()
		conn := c.attach(shim.AttachOptions{Stdout: true})
		c.start()
		var got []string
		frames := bufio.NewReader(conn)
		for len(got) == 0 || got[len(got)-1] != "SIGTERM" {
			if _, err := frames.Discard(8); err != nil {
				t.Fatal(err)
			}
			line, err := frames.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strings.TrimSpace(line))
			next := []unix.Signal{unix.SIGUSR1, unix.SIGHUP, unix.SIGTERM}
			if len(got) > len(next) {
				break
			}
			if err := c.client.Signal(within(t), next[len(got)-1]); err != nil {
				t.Fatal(err)
			}
		}
		if s := strings.Join(got, " "); s != "ready SIGUSR1 SIGHUP SIGTERM" {
			t.Errorf("the program saw %q", s)
		}
		if exit := c.wait(); exit.Code != 7 {
			t.Errorf("exit = %+v", exit)
		}
	})
}

func TestStdin(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, runtime string) {
		c := newContainer(t, runtime, "cat")
		c.Stdin = true
		c.create()
		c.start()
		// A first client comes and goes; the input stays open.
		first := c.attach(shim.AttachOptions{Stdin: true, Stdout: true})
		io.WriteString(first, "from the first\n")
		frame := make([]byte, 8+len("from the first\n"))
		if _, err := io.ReadFull(first, frame); err != nil || string(frame[8:]) != "from the first\n" {
			t.Fatalf("%q, %v", frame, err)
		}
		first.Close()
		conn := c.attach(shim.AttachOptions{Stdin: true, Stdout: true, CloseStdin: true})
		text := strings.Repeat("a line of input\n", 10_000)
		go func() {
			io.WriteString(conn, text)
			conn.CloseWrite()
		}()
		if out, _ := unframe(t, conn); out != text {
			t.Errorf("%d bytes came back, want %d", len(out), len(text))
		}
		if exit := c.wait(); exit.Code != 0 {
			t.Errorf("exit = %+v", exit)
		}
	})
}

// TestStdinBeforeStart holds that what a client sends early waits for the program.
func TestStdinBeforeStart(t *testing.T) {
	c := newContainer(t, runtimes(t)["drydock-runtime"], "cat")
	c.Stdin = true
	c.create()
	conn := c.attach(shim.AttachOptions{Stdin: true, Stdout: true, CloseStdin: true})
	io.WriteString(conn, "early")
	conn.CloseWrite()
	c.start()
	if out, _ := unframe(t, conn); out != "early" {
		t.Errorf("%q came back", out)
	}
	c.wait()
}

func TestCloseStdin(t *testing.T) {
	for name, path := range runtimes(t) {
		if name != "drydock-runtime" {
			continue
		}
		c := newContainer(t, path, "cat")
		c.Stdin = true
		c.create()
		c.start()
		if err := c.client.CloseStdin(within(t)); err != nil {
			t.Fatal(err)
		}
		if exit := c.wait(); exit.Code != 0 {
			t.Errorf("exit = %+v", exit)
		}
	}
}

func TestTerminal(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, runtime string) {
		c := newContainer(t, runtime, "sizes")
		c.Stdin = true
		c.Spec.Process.Terminal = true
		c.create()
		conn := c.attach(shim.AttachOptions{Stdin: true, Stdout: true, Stderr: true, CloseStdin: true})
		if err := c.client.Resize(within(t), 40, 120); err != nil {
			t.Fatal(err)
		}
		c.start()
		r := bufio.NewReader(conn)
		line, err := r.ReadString('\n')
		if line != "120x40\r\n" {
			t.Fatalf("first size %q, %v", line, err)
		}
		if err := c.client.Resize(within(t), 50, 132); err != nil {
			t.Fatal(err)
		}
		if line, err = r.ReadString('\n'); line != "132x50\r\n" {
			t.Fatalf("second size %q, %v", line, err)
		}
		// The end of what the client sends is not the end of the terminal.
		conn.Write([]byte("typed"))
		conn.CloseWrite()
		echo := make([]byte, 5)
		if _, err := io.ReadFull(r, echo); string(echo) != "typed" {
			t.Fatalf("the terminal echoed %q, %v", echo, err)
		}
		if err := c.client.Resize(within(t), 1, 1); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(r)
		if err != nil || string(rest) != "1x1\r\n" {
			t.Errorf("rest %q, %v", rest, err)
		}
		c.wait()
		if out, _, _ := c.logged(); !strings.HasPrefix(out, "120x40\r\n132x50\r\n") {
			t.Errorf("the log has %q", out)
		}
	})
}

func TestALotOfOutputArrivesToTheLastByte(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, runtime string) {
		const n = 100_000
		c := newContainer(t, runtime, "lines", fmt.Sprint(n))
		c.create()
		conn := c.attach(shim.AttachOptions{Stdout: true})
		c.start()
		// Wait returns although this client has not read a byte.
		c.wait()
		out, _ := unframe(t, conn)
		log, _, records := c.logged()
		if out != log || records != n || !strings.HasSuffix(out, fmt.Sprintf("line %d of %d\n", n, n)) {
			t.Errorf("client got %d bytes, the log has %d in %d records", len(out), len(log), records)
		}
	})
}

func TestLongLinesAreSplitInTheLog(t *testing.T) {
	c := newContainer(t, runtimes(t)["drydock-runtime"], "write", "40000")
	c.create()
	c.start()
	c.wait()
	out, _, records := c.logged()
	if out != strings.Repeat("x", 40000) || records != 3 {
		t.Errorf("%d bytes in %d records, want 40000 in 3", len(out), records)
	}
}

func TestCreateFails(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, runtime string) {
		c := newContainer(t, runtime, "true")
		c.Spec.Process.Args = []string{"no-such-program"}
		client, err := shim.Launch(within(t), c.LaunchOptions)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Created(within(t))
		if err == nil || !strings.Contains(err.Error(), "executable file") || !strings.Contains(err.Error(), "not found in $PATH") {
			t.Errorf("created: %v", err)
		}
		if entries, _ := os.ReadDir(c.RuntimeRoot); len(entries) != 0 {
			t.Errorf("the runtime's state is still there: %v", entries)
		}
	})
}

func TestShimKeepsNoStrangersDescriptor(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	// As of a shell that started the engine's process: without close-on-exec.
	leak, err := unix.Dup(int(w.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	c := newContainer(t, runtimes(t)["drydock-runtime"], "signals")
	c.create()
	w.Close()
	unix.Close(leak)
	c.start()
	r.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the pipe is still open: %v", err)
	}
	c.client.Signal(within(t), unix.SIGKILL)
	c.wait()
}

func TestNoSuchRuntime(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	c := newContainer(t, "/no/such/runtime", "true")
	client, err := shim.Launch(within(t), c.LaunchOptions)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = client.Created(within(t)); err == nil || !strings.Contains(err.Error(), "/no/such/runtime: no such file or directory") {
		t.Errorf("created: %v", err)
	}
}

func TestNoSuchShim(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	c := newContainer(t, "/bin/true", "true")
	c.Shim = "/no/such/shim"
	if _, err := shim.Launch(within(t), c.LaunchOptions); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("launch: %v", err)
	}
	if _, err := shim.Dial(c.Dir); !errdefs.IsUnavailable(err) {
		t.Errorf("dial: %v", err)
	}
}

func TestNetworkNamespaceIsJoined(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, runtime string) {
		ns, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		want, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		c := newContainer(t, runtime, "link", "/proc/self/ns/net")
		c.Network = ns
		c.create()
		c.start()
		c.wait()
		if out, _, _ := c.logged(); !strings.HasPrefix(out, want+" ") {
			t.Errorf("the container is in %q, want %q", out, want)
		}
	})
}

func TestStoppedAndStartedAgainKeepsWhatWasWritten(t *testing.T) {
	runtime := runtimes(t)["drydock-runtime"]
	c := newContainer(t, runtime, "write-file", "/tmp/kept", "still here")
	c.create()
	c.start()
	c.wait()
	if _, err := os.Stat(filepath.Join(c.Rootfs.Lower[0], "tmp/kept")); err == nil {
		t.Error("the file is in the image's layer")
	}
	os.Remove(c.Exit)
	c.Spec.Process.Args = []string{bundletest.Program, "read-file", "/tmp/kept"}
	c.create()
	c.start()
	c.wait()
	if out, _, _ := c.logged(); out != "still here" {
		t.Errorf("read %q", out)
	}
}

// launchAndDie is the engine of TestShimOutlivesItsParent.
func launchAndDie() {
	var opt shim.LaunchOptions
	err := json.NewDecoder(os.Stdin).Decode(&opt)
	if err == nil {
		var c *shim.Client
		if c, err = shim.Launch(context.Background(), opt); err == nil {
			_, err = c.Created(context.Background())
		}
	}
	if err != nil {
		fmt.Println(err)
	}
	unix.Kill(os.Getpid(), unix.SIGKILL)
}

func TestShimOutlivesItsParent(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, runtime string) {
		c := newContainer(t, runtime, "signals")
		b, err := json.Marshal(c.LaunchOptions)
		if err != nil {
			t.Fatal(err)
		}
		parent := exec.Command("/proc/self/exe")
		parent.Env = append(os.Environ(), "SHIM_TEST_PARENT=1")
		parent.Stdin = bytes.NewReader(b)
		if out, _ := parent.CombinedOutput(); len(out) != 0 {
			t.Fatalf("%s", out)
		}
		if c.client, err = shim.Dial(c.Dir); err != nil {
			t.Fatal(err)
		}
		status, err := c.client.Status(within(t))
		if err != nil || status.Pid == 0 || status.Started {
			t.Errorf("status = %+v, %v", status, err)
		}
		c.start()
		if status, err = c.client.Status(within(t)); err != nil || !status.Started || time.Since(status.StartedAt) > time.Minute {
			t.Errorf("status = %+v, %v", status, err)
		}
		c.client.Signal(within(t), unix.SIGKILL)
		if exit := c.wait(); exit.Code != 137 {
			t.Errorf("exit = %+v", exit)
		}
		c.nothingIsLeft()
	})
}

func TestKilledShimIsNoticed(t *testing.T) {
	c := newContainer(t, runtimes(t)["drydock-runtime"], "signals")
	c.create()
	c.start()
	status, err := c.client.Status(within(t))
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error)
	go func() {
		_, err := c.client.Wait(within(t))
		waited <- err
	}()
	parent := parentOf(t, status.Pid)
	if err := unix.Kill(parent, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; !errdefs.IsUnavailable(err) {
		t.Errorf("wait: %v", err)
	}
	if err := c.client.Start(within(t)); !errdefs.IsUnavailable(err) {
		t.Errorf("start: %v", err)
	}
	if out, err := exec.Command(c.Runtime, "--root", c.RuntimeRoot, "delete", "--force", c.ID).CombinedOutput(); err != nil {
		t.Errorf("delete --force: %v: %s", err, out)
	}
}

func parentOf(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	var parent int
	if _, err := fmt.Sscanf(string(b[bytes.LastIndexByte(b, ')')+4:]), "%d", &parent); err != nil {
		t.Fatal(err)
	}
	return parent
}

func TestChildThatHoldsTheOutputOfASharedPIDNamespace(t *testing.T) {
	c := newContainer(t, runtimes(t)["drydock-runtime"], "leave")
	var kept []specs.LinuxNamespace
	for _, ns := range c.Spec.Linux.Namespaces {
		if ns.Type != specs.PIDNamespace {
			kept = append(kept, ns)
		}
	}
	c.Spec.Linux.Namespaces = kept
	c.create()
	c.start()
	if exit := c.wait(); exit.Code != 0 {
		t.Errorf("exit = %+v", exit)
	}
	out, _, _ := c.logged()
	var pid int
	if _, err := fmt.Sscanf(out, "left %d", &pid); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	if err := unix.Kill(pid, 0); err != unix.ESRCH {
		t.Errorf("process %d outlived its container: %v", pid, err)
	}
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	c := newContainer(t, runtimes(t)["drydock-runtime"], "signals")
	c.create()
	if err := c.client.Resize(within(t), 1, 1); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("resize without a terminal: %v", err)
	}
	conn, err := net.Dial("unix", filepath.Join(c.Dir, shim.SocketFile))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "{\"op\":\"fly\"}\n")
	answer, _ := io.ReadAll(conn)
	if want := "{\"error\":\"operation \\\"fly\\\" is not known: invalid argument\",\"kind\":\"invalid argument\"}\n"; string(answer) != want {
		t.Errorf("answer %s, want %s", answer, want)
	}
	c.client.Signal(within(t), unix.SIGKILL)
	c.wait()
	if err := c.client.Start(within(t)); !errdefs.IsUnavailable(err) {
		t.Errorf("start after the end: %v", err)
	}
}
