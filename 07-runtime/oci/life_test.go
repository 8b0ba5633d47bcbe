//go:build linux

package oci_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/07-runtime/bundletest"
	"drydock.example/07-runtime/oci"
)

// bundle is a bundle and a runtime's root directory.
type bundle struct {
	t       *testing.T
	program string
	dir     string
	root    string
	id      string
	spec    *specs.Spec
}

func newBundle(t *testing.T, args ...string) *bundle {
	t.Helper()
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	b := &bundle{
		t: t, program: bundletest.Build(t, "cmd/drydock-runtime"),
		dir: filepath.Join(dir, "bundle"), root: filepath.Join(dir, "root"), id: "c" + filepath.Base(filepath.Dir(dir)),
	}
	b.id = strings.ReplaceAll(b.id, "/", "-")
	bundletest.Rootfs(t, filepath.Join(b.dir, "rootfs"))
	b.spec = bundletest.Spec(hosttest.Cgroup()+"/"+b.id, args...)
	t.Cleanup(func() {
		b.runtime("delete", "--force", b.id)
		b.nothingIsLeft()
	})
	return b
}

// command prepares the runtime's invocation. It writes the bundle's config first.
func (b *bundle) command(args ...string) *exec.Cmd {
	b.t.Helper()
	bundletest.Write(b.t, b.dir, b.spec)
	c := exec.Command(b.program, append([]string{"--root", b.root}, args...)...)
	c.Dir = b.dir
	return c
}

// runtime runs the runtime and returns what it printed, and its exit status.
func (b *bundle) runtime(args ...string) (out string, status int) {
	b.t.Helper()
	// Files, not pipes: the container holds its streams beyond the runtime's end.
	f, err := os.CreateTemp(b.t.TempDir(), "output")
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	c := b.command(args...)
	c.Stdout, c.Stderr = f, f
	err = c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.t.Fatal(err)
	}
	text, err := os.ReadFile(f.Name())
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text), c.ProcessState.ExitCode()
}

// must is runtime for what must succeed.
func (b *bundle) must(args ...string) string {
	b.t.Helper()
	out, status := b.runtime(args...)
	if status != 0 {
		b.t.Fatalf("%v: status %d: %s", args, status, out)
	}
	return out
}

// execDetached has one more program run, which sleeps, and returns its process id.
func (b *bundle) execDetached(options ...string) int {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), "pid")
	b.must(slices.Concat([]string{"exec", "--detach", "--pid-file", file}, options, []string{b.id, bundletest.Program, "sleep"})...)
	text, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		b.t.Fatal(err)
	}
	return pid
}

// receiveDescriptor takes the one descriptor that the next caller of l sends.
func receiveDescriptor(t *testing.T, l *net.UnixListener) *os.File {
	t.Helper()
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 100), rights)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "received")
	t.Cleanup(func() { f.Close() })
	return f
}

// refuses is runtime for what must fail with the words.
func (b *bundle) refuses(words string, args ...string) {
	b.t.Helper()
	out, status := b.runtime(args...)
	out = strings.ReplaceAll(out, `\"`, `"`) // as a text log quotes it
	if status != 1 || !strings.Contains(out, words) {
		b.t.Errorf("%v: status %d: %swant status 1 and %q", args, status, out, words)
	}
}

func (b *bundle) state() oci.State {
	b.t.Helper()
	var s oci.State
	if err := json.Unmarshal([]byte(b.must("state", b.id)), &s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

// wait waits, by pidfd, for the end of the container's first process.
func (b *bundle) wait(pid int) {
	b.t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	for {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); err != unix.EINTR {
			return
		}
	}
}

// nothingIsLeft checks the state directory and every cgroup hierarchy.
func (b *bundle) nothingIsLeft() {
	b.t.Helper()
	if entries, _ := os.ReadDir(b.root); len(entries) > 0 {
		b.t.Errorf("left in the root directory: %v", entries)
	}
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		left, _ := filepath.Glob(pattern + hosttest.Cgroup() + "/" + b.id)
		if len(left) > 0 {
			b.t.Errorf("left: %v", left)
		}
	}
}

func TestLife(t *testing.T) {
	b := newBundle(t, "sleep")
	b.refuses("container does not exist", "state", b.id)
	b.refuses("container does not exist", "start", b.id)
	b.refuses("container does not exist", "kill", b.id)
	b.refuses("container does not exist", "delete", b.id)
	b.must("delete", "--force", b.id)
	b.refuses("invalid container ID format", "state", "../x")

	pidFile := filepath.Join(t.TempDir(), "pid")
	b.must("create", "--bundle", b.dir, "--pid-file", pidFile, b.id)
	s := b.state()
	if pid, _ := os.ReadFile(pidFile); s.Status != specs.StateCreated || strconv.Itoa(s.Pid) != string(pid) || s.Bundle != b.dir || s.ID != b.id {
		t.Errorf("created: %+v, pid file %q", s, pid)
	}
	for _, ns := range []string{"pid", "mnt", "net", "uts", "ipc"} {
		ours, _ := os.Readlink("/proc/self/ns/" + ns)
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", s.Pid, ns))
		if err != nil || ours == theirs {
			t.Errorf("%s namespace: ours %s, theirs %s, %v", ns, ours, theirs, err)
		}
	}
	cgroup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", s.Pid))
	for line := range strings.Lines(string(cgroup)) {
		if !strings.HasSuffix(line, b.spec.Linux.CgroupsPath+"\n") {
			t.Errorf("cgroup %q, want %s", line, b.spec.Linux.CgroupsPath)
		}
	}
	b.refuses("container with given ID already exists", "create", b.id)

	b.must("start", b.id)
	if s := b.state(); s.Status != specs.StateRunning {
		t.Errorf("started: %+v", s)
	}
	b.refuses("cannot start an already running container", "start", b.id)
	b.refuses("cannot delete container "+b.id+" that is not stopped: running", "delete", b.id)
	if out := b.must("list"); !strings.Contains(out, b.id+" ") || !strings.Contains(out, " running ") {
		t.Errorf("list: %s", out)
	}
	if out := b.must("ps", "--format", "json", b.id); out != fmt.Sprintf("[%d]\n", s.Pid) {
		t.Errorf("ps: %s", out)
	}
	b.must("kill", b.id, "KILL")
	b.wait(s.Pid)
	if s := b.state(); s.Status != specs.StateStopped || s.Pid != 0 {
		t.Errorf("stopped: %+v", s)
	}
	b.refuses("container not running", "kill", b.id)
	b.refuses("cannot start a container that has stopped", "start", b.id)
	b.must("kill", "--all", b.id, "9")
	b.must("delete", b.id)
	b.nothingIsLeft()
	if out := b.must("list", "--format", "json"); out != "null\n" {
		t.Errorf("list: %s", out)
	}
}

func TestNothingRunsBeforeStart(t *testing.T) {
	b := newBundle(t, "write-file", "/tmp/ran", "yes")
	b.must("create", b.id)
	marker := filepath.Join(b.dir, "rootfs/tmp/ran")
	if _, err := os.Stat(marker); err == nil {
		t.Fatal("the program has run")
	}
	pid := b.state().Pid
	b.must("start", b.id)
	b.wait(pid)
	if text, err := os.ReadFile(marker); string(text) != "yes" {
		t.Errorf("after start: %q, %v", text, err)
	}
}

// A config has to have a process when the container is started, and not before
// (runtime-spec, config.md#process): without one the namespaces are there to be entered.
func TestAContainerWithoutAProcess(t *testing.T) {
	b := newBundle(t)
	b.spec.Process = nil
	b.refuses("cannot start a container without a process", "run", b.id)
	b.must("create", b.id)
	b.refuses("cannot start a container without a process", "start", b.id)
	if s := b.state(); s.Status != specs.StateCreated {
		t.Errorf("after a start that was refused: %+v", s)
	}
	if out := b.must("exec", b.id, bundletest.Program, "echo", "hello"); out != "hello\n" {
		t.Errorf("exec: %q", out)
	}
	b.must("delete", b.id)
}

// A user namespace need not have a root: then the program's user is who
// prepares the container.
func TestAUserNamespaceWithoutARoot(t *testing.T) {
	hosttest.Require(t, hosttest.UserNamespaces)
	b := newBundle(t, "sleep")
	b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	b.spec.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 1000, HostID: 100000, Size: 1}}
	b.spec.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 1000, HostID: 200000, Size: 1}}
	b.spec.Process.User = specs.User{UID: 1000, GID: 1000}
	err := filepath.WalkDir(b.dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, 100000, 200000))
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(b.dir); dir != os.TempDir(); dir = filepath.Dir(dir) {
		os.Chmod(dir, 0o755) // that user has to get to it
	}
	b.must("run", "--detach", b.id)
	for _, pid := range []int{b.state().Pid, b.execDetached()} {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"Uid:\t100000\t", "Gid:\t200000\t", "CapAmb:\t0000000000000000"} {
			if !strings.Contains(string(status), "\n"+want) {
				t.Errorf("process %d: no %q in %s", pid, want, status)
			}
		}
	}
}

func TestDeleteOfACreatedContainerEndsIt(t *testing.T) {
	b := newBundle(t, "sleep")
	b.must("create", b.id)
	pid := b.state().Pid
	b.must("delete", b.id)
	if err := unix.Kill(pid, 0); err == nil && !zombie(pid) {
		t.Errorf("process %d lives", pid)
	}
	b.nothingIsLeft()
}

// zombie reports whether a process has ended: it is a zombie (Z), is being
// reaped at this moment (X), or is gone.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(stat, []byte(") Z ")) || bytes.Contains(stat, []byte(") X "))
}

// TestTheReasonIsTold: what stops the process is the error, also when it ends
// while it is moved into its cgroup.
func TestTheReasonIsTold(t *testing.T) {
	b := newBundle(t, "exit", "0")
	mounts := b.spec.Mounts
	for at := range mounts {
		b.spec.Mounts = slices.Insert(slices.Clone(mounts), at, specs.Mount{Destination: "/x", Source: "/nosuch", Options: []string{"bind"}})
		b.refuses("mount /nosuch (bind) on /x: open_tree /nosuch: no such file or directory", "run", b.id)
	}
}

// TestPeakMemory reads what the runtime and the process that prepares the
// container have used at most (VmHWM of proc_pid_status(5)).
func TestPeakMemory(t *testing.T) {
	const most = 12 << 10 // KiB
	peak := func(pid int) int {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), "VmHWM:")
		n, err := strconv.Atoi(strings.Fields(rest)[0])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	b := newBundle(t, "signals")
	b.must("create", b.id)
	if n := peak(b.state().Pid); n == 0 || n > most {
		t.Errorf("init: %d KiB", n)
	} else {
		t.Logf("init: %d KiB", n)
	}
	b.must("delete", b.id)
	c := b.command("run", b.id)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 6)); err != nil { // "ready"
		t.Fatal(err)
	}
	if n := peak(c.Process.Pid); n > most {
		t.Errorf("runtime: %d KiB", n)
	} else {
		t.Logf("runtime: %d KiB", n)
	}
	b.must("kill", b.id, "TERM")
	c.Wait()
}

// TestWithoutAMountNamespace: the mounts are the host's then, until the
// container goes (hosttest finds those that stay).
func TestWithoutAMountNamespace(t *testing.T) {
	b := newBundle(t, "read-file", "/proc/self/mountinfo")
	b.spec.Linux.MaskedPaths, b.spec.Linux.ReadonlyPaths = nil, nil
	b.spec.Linux.Namespaces = slices.DeleteFunc(b.spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.MountNamespace })
	if out := b.must("run", b.id); !strings.Contains(out, " /proc ") {
		t.Errorf("no /proc inside:\n%s", out)
	}
	if mounts, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(mounts), b.dir) {
		t.Errorf("mounts are left:\n%s", mounts)
	}
}

func TestDeleteForceOfARunningContainer(t *testing.T) {
	b := newBundle(t, "sleep")
	b.must("run", "--detach", b.id)
	b.must("delete", "--force", b.id)
	b.nothingIsLeft()
}

func TestRunsExitStatus(t *testing.T) {
	for _, test := range []struct {
		args   []string
		status int
		output string
	}{
		{[]string{"exit", "0"}, 0, ""},
		{[]string{"exit", "42"}, 42, ""},
		{[]string{"echo", "hello", "world"}, 0, "hello world\n"},
		{[]string{"both"}, 0, "to stdout\nto stderr\n"},
		{[]string{"fds"}, 0, "0\n1\n2\n"},
	} {
		b := newBundle(t, test.args...)
		if out, status := b.runtime("run", b.id); status != test.status || out != test.output {
			t.Errorf("%v: status %d, output %q", test.args, status, out)
		}
		b.nothingIsLeft()
	}
}

func TestRunPassesSignalsOn(t *testing.T) {
	b := newBundle(t, "signals")
	c := b.command("run", b.id)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var got []string
	buf := make([]byte, 100)
	for _, s := range []syscall.Signal{unix.SIGUSR1, unix.SIGHUP, unix.SIGTERM, 0} {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimSpace(string(buf[:n])))
		if s != 0 {
			c.Process.Signal(s)
		}
	}
	c.Wait()
	if s := strings.Join(got, " "); s != "ready SIGUSR1 SIGHUP SIGTERM" || c.ProcessState.ExitCode() != 7 {
		t.Errorf("the program saw %q, status %d", s, c.ProcessState.ExitCode())
	}
}

func TestRunOfAKilledProgram(t *testing.T) {
	b := newBundle(t, "sleep")
	c := b.command("run", "--pid-file", filepath.Join(b.dir, "pid"), b.id)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	for pid == 0 {
		text, _ := os.ReadFile(filepath.Join(b.dir, "pid"))
		pid, _ = strconv.Atoi(string(text))
	}
	unix.Kill(pid, unix.SIGKILL)
	c.Wait()
	if s := c.ProcessState.ExitCode(); s != 137 {
		t.Errorf("status %d, want 137", s)
	}
}

func TestRunKeep(t *testing.T) {
	b := newBundle(t, "exit", "3")
	if out, status := b.runtime("run", "--keep", b.id); status != 3 {
		t.Errorf("status %d: %s", status, out)
	}
	if s := b.state(); s.Status != specs.StateStopped {
		t.Errorf("%+v", s)
	}
	b.must("delete", b.id)
}

func TestProgramThatCannotRun(t *testing.T) {
	for _, test := range []struct{ program, words string }{
		{"no-such-program", `exec: "no-such-program": executable file not found in $PATH`},
		{"/no/such/program", `no such file or directory`},
		{"/etc/plain", `permission denied`},
	} {
		for _, command := range []string{"run", "create"} {
			b := newBundle(t)
			b.spec.Process.Args = []string{test.program}
			b.refuses(test.words, command, b.id)
			b.nothingIsLeft()
		}
	}
}

func TestErrorsInTheLog(t *testing.T) {
	b := newBundle(t, "sleep")
	log := filepath.Join(t.TempDir(), "log")
	b.refuses("container does not exist\n", "--log", log, "--log-format", "json", "state", b.id)
	var entry struct {
		Level, Msg string
		Time       time.Time
	}
	text, _ := os.ReadFile(log)
	if err := json.Unmarshal(text, &entry); err != nil || entry.Level != "error" || entry.Msg != "container does not exist" || time.Since(entry.Time) > time.Minute {
		t.Errorf("the log has %s: %v", text, err)
	}
}

func TestCommandLine(t *testing.T) {
	b := newBundle(t, "sleep")
	b.refuses(`"create" requires exactly 1 argument(s)`, "create")
	if out, status := b.runtime("fly"); status != 3 || !strings.Contains(out, "No help topic for 'fly'") {
		t.Errorf("status %d: %s", status, out)
	}
	b.refuses("flag provided but not defined: -wings", "create", "--wings", b.id)
	b.refuses("invalid log-format", "--log-format", "xml", "list")
	b.refuses(`unknown signal "FLY"`, "kill", b.id, "FLY")
	if out := b.must("--version"); !strings.HasPrefix(out, "drydock-runtime version ") || !strings.Contains(out, "\ncommit: ") || !strings.Contains(out, "\nspec: "+specs.Version+"\n") {
		t.Errorf("--version: %s", out)
	}
	for _, help := range [][]string{{"update", "-h"}, {"help", "update"}} {
		if out := b.must(help...); !strings.HasPrefix(out, "NAME:\n   drydock-runtime update - ") || !strings.Contains(out, "\n  -cpu-idle ") {
			t.Errorf("%v: %s", help, out)
		}
	}
	for _, help := range [][]string{{"-h"}, {"help"}, nil} {
		if out := b.must(help...); !strings.HasPrefix(out, "NAME:\n   drydock-runtime - Open Container Initiative runtime") {
			t.Errorf("%v: %s", help, out)
		}
	}
	var f struct{ OciVersionMax string }
	if err := json.Unmarshal([]byte(b.must("features")), &f); err != nil || f.OciVersionMax != specs.Version {
		t.Errorf("features: %+v, %v", f, err)
	}
}

// Who replaces runc by a link finds the name that he calls it by.
func TestItAnswersToTheNameOfALink(t *testing.T) {
	b := newBundle(t, "exit", "0")
	link := filepath.Join(t.TempDir(), "runc")
	if err := os.Symlink(b.program, link); err != nil {
		t.Fatal(err)
	}
	b.program = link
	for _, test := range []struct {
		args   []string
		status int
		words  string
	}{
		{[]string{"-v"}, 0, "runc version "},
		{[]string{"list", "-h"}, 0, "NAME:\n   runc list - "},
		{[]string{"run", "--bundle", "/nowhere", b.id}, 1, "runc run failed: "},
		{[]string{"run", b.id}, 0, ""},
	} {
		if out, status := b.runtime(test.args...); status != test.status || !strings.Contains(out, test.words) {
			t.Errorf("%v: status %d: %s", test.args, status, out)
		}
	}
}

// The stages of a start are in the log in the words in which runc's has them.
func TestTheStagesOfAStartAreInTheLog(t *testing.T) {
	b := newBundle(t, "sleep")
	for command, stages := range map[string][]string{
		"run":  {"nsexec container setup", "child process in init()", "init: closing the pipe to signal completion"},
		"exec": {"nsexec container setup", "child process in init()", "setns_init: about to exec"},
	} {
		b.runtime("delete", "--force", b.id)
		args := []string{"run", "--detach", b.id}
		if command == "exec" {
			b.must(args...)
			args = []string{"exec", b.id, bundletest.Program, "exit", "0"}
		}
		log := filepath.Join(t.TempDir(), "log")
		if out := b.must(append([]string{"--debug", "--log", log, "--log-format", "json"}, args...)...); strings.Contains(out, "debug") {
			t.Errorf("with --log the terminal shows %s", out)
		}
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		for _, stage := range stages {
			if !strings.Contains(string(text), `{"level":"debug","msg":"`+stage+`"`) {
				t.Errorf("%s: %q is not in the log: %s", command, stage, text)
			}
		}
	}
}

func TestACgroupWithProcessesIsNoContainers(t *testing.T) {
	b, other := newBundle(t, "sleep"), newBundle(t, "sleep")
	b.must("run", "--detach", b.id)
	other.id += "-other" // in the same cgroup
	for _, command := range [][]string{{"create"}, {"run", "--detach"}} {
		other.refuses("container's cgroup is not empty", append(command, other.id)...)
	}
	if s := b.state(); s.Status != specs.StateRunning {
		t.Errorf("the one whose cgroup it is: %+v", s)
	}
	b.must("delete", "--force", b.id)
}

func TestUnknownLettersOfADeviceRuleAreSaid(t *testing.T) {
	b := newBundle(t, "sleep")
	b.spec.Linux.Resources = &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Type: "c", Access: "rwa"}}}
	if out := b.must("run", "--detach", b.id); !strings.Contains(out, `level=warning msg="linux.resources.devices[0].access: \"rwa\": only r, w and m are known: it is taken for \"rw\""`) {
		t.Errorf("%s", out)
	}
	b.runtime("delete", "--force", b.id)
	b.spec.Linux.Resources.Devices[0].Access = "a"
	b.refuses(`access "a": only r, w and m are known`, "run", b.id)
}

func TestSpecMakesABundleThatRuns(t *testing.T) {
	b := newBundle(t)
	dir := t.TempDir()
	b.must("spec", "--bundle", dir)
	b.refuses("File config.json exists. Remove it first", "spec", "--bundle", dir)
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err == nil {
		err = json.Unmarshal(text, b.spec)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.spec.Process.Terminal = false
	b.spec.Process.Args = []string{bundletest.Program, "echo", "runs"}
	b.spec.Linux.CgroupsPath = hosttest.Cgroup() + "/" + b.id
	if out := b.must("run", b.id); out != "runs\n" {
		t.Errorf("%q", out)
	}
}

func TestHooksRunInOrder(t *testing.T) {
	b := newBundle(t, "write-file", "/tmp/ran", "yes")
	outside := filepath.Join(t.TempDir(), "hooks")
	program := filepath.Join(b.dir, "rootfs", bundletest.Program)
	hook := func(name string) []specs.Hook {
		return []specs.Hook{{Path: program, Args: []string{"program", "hook", outside, name}}}
	}
	b.spec.Hooks = &specs.Hooks{
		Prestart:      hook("prestart"), //nolint:staticcheck // deprecated, and still used
		CreateRuntime: hook("createRuntime"),
		// Its path is looked up outside, and it runs inside.
		CreateContainer: hook("createContainer"),
		StartContainer:  []specs.Hook{{Path: bundletest.Program, Args: []string{"program", "hook", "/tmp/hooks", "startContainer"}}},
		Poststart:       hook("poststart"),
		Poststop:        hook("poststop"),
	}
	host, _ := os.Hostname()
	read := func(path string) string {
		text, _ := os.ReadFile(path)
		return string(text)
	}
	b.must("create", b.id)
	want := fmt.Sprintf("prestart %[1]s created true %[2]s\ncreateRuntime %[1]s creating true %[2]s\ncreateContainer %[1]s creating true %[2]s\n", b.id, host)
	if got := read(outside); got != want {
		t.Errorf("after create:\n%swant:\n%s", got, want)
	}
	pid := b.state().Pid
	b.must("start", b.id)
	want = read(outside)
	if !strings.HasSuffix(want, "poststart "+b.id+" running true "+host+"\n") {
		t.Errorf("after start:\n%s", want)
	}
	b.wait(pid)
	if got := read(filepath.Join(b.dir, "rootfs/tmp/hooks")); got != "startContainer "+b.id+" created true bundle\n" {
		t.Errorf("inside: %q", got)
	}
	b.must("delete", b.id)
	if got := read(outside); got != want+"poststop "+b.id+" stopped false "+host+"\n" {
		t.Errorf("after delete:\n%s", got)
	}
}

func TestHookThatFailsUndoesTheContainer(t *testing.T) {
	b := newBundle(t, "sleep")
	program := filepath.Join(b.dir, "rootfs", bundletest.Program)
	b.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: program, Args: []string{"program", "exit", "3"}}}}
	b.refuses("hooks.createRuntime[0]: "+program+": exit status 3", "create", b.id)
	b.nothingIsLeft()
	b.spec.Hooks.CreateRuntime[0] = specs.Hook{Path: program, Args: []string{"program", "sleep"}, Timeout: new(1)}
	b.refuses("timeout of 1 s", "create", b.id)
	b.nothingIsLeft()
}

// TestASignalEndsWhatIsBeingMade: run passes signals on to the program, but a
// hook that hangs must not make it deaf before there is one.
func TestASignalEndsWhatIsBeingMade(t *testing.T) {
	b := newBundle(t, "exit", "0")
	b.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "kill -TERM $PPID; exec sleep 60"}}}}
	began := time.Now()
	c := b.command("run", b.id)
	out, err := c.CombinedOutput()
	if took := time.Since(began); err == nil || took > 30*time.Second {
		t.Errorf("%v after %v: %s", err, took, out)
	}
	// Either it caught the signal, or it came before that and was killed.
	if s := c.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() && !strings.Contains(string(out), "got terminated") {
		t.Errorf("%v: %s", c.ProcessState, out)
	}
}

func TestPreservedDescriptors(t *testing.T) {
	b := newBundle(t, "fds")
	c := b.command("run", "--preserve-fds", "1", b.id)
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.ExtraFiles = []*os.File{f, f}
	if out, err := c.Output(); string(out) != "0\n1\n2\n3\n" {
		t.Errorf("descriptors %q, %v", out, err)
	}
	// What the caller has not opened may be a descriptor of the runtime's own by then.
	b.refuses("unable to stat preserved-fd 0 (of 1)", "run", "--preserve-fds", "1", b.id)
	c = b.command("create", "--preserve-fds", "3", b.id)
	c.ExtraFiles = []*os.File{f, f}
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "unable to stat preserved-fd 2 (of 3)") {
		t.Errorf("%s, %v", out, err)
	}
}

func TestPidfdSocket(t *testing.T) {
	b := newBundle(t, "sleep")
	path := filepath.Join(t.TempDir(), "socket")
	b.refuses("--pidfd-socket: dial unix", "create", "--pidfd-socket", path, b.id)
	b.nothingIsLeft()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b.must("create", "--pidfd-socket", path, b.id)
	first := receiveDescriptor(t, l)
	b.must("start", b.id)
	pid := b.execDetached("--pidfd-socket", path)
	second := receiveDescriptor(t, l)
	for _, p := range []struct {
		pidfd *os.File
		pid   int
	}{{second, pid}, {first, b.state().Pid}} {
		if err := unix.PidfdSendSignal(int(p.pidfd.Fd()), unix.SIGKILL, nil, 0); err != nil {
			t.Error(err)
		}
		b.wait(p.pid)
		if !zombie(p.pid) {
			t.Errorf("process %d lives", p.pid)
		}
	}
	if s := b.state(); s.Status != specs.StateStopped {
		t.Errorf("%+v", s)
	}
}

func TestConsoleSocket(t *testing.T) {
	b := newBundle(t, "sizes")
	b.refuses("cannot use console socket", "create", "--console-socket", "/x", b.id)
	b.spec.Process.Terminal = true
	b.spec.Process.ConsoleSize = &specs.Box{Height: 1, Width: 1}
	b.refuses("without setting console socket", "create", b.id)
	b.refuses("--console-socket: ", "create", "--console-socket", filepath.Join(b.dir, "none"), b.id)
	b.nothingIsLeft()

	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(b.dir, "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b.must("create", "--console-socket", filepath.Join(b.dir, "s"), b.id)
	master := receiveDescriptor(t, l)
	b.must("start", b.id)
	if line, err := bufio.NewReader(master).ReadString('\n'); line != "1x1\r\n" {
		t.Errorf("the terminal says %q, %v", line, err)
	}
}

func TestRunWithATerminal(t *testing.T) {
	b := newBundle(t, "sizes")
	b.spec.Process.Terminal = true
	master, slave := newPTY(t)
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100}); err != nil {
		t.Fatal(err)
	}
	c := b.command("run", b.id)
	c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		buf := make([]byte, len(want))
		for n := 0; n < len(buf); {
			m, err := master.Read(buf[n:])
			if n += m; err != nil || !strings.HasPrefix(want, string(buf[:n])) {
				t.Fatalf("the terminal shows %q, %v; want %q", buf[:n], err, want)
			}
		}
	}
	expect("100x24\r\n")
	// Typed here, echoed by the container's terminal and not by this one.
	master.Write([]byte("x"))
	expect("x")
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 1, Col: 1}); err != nil {
		t.Fatal(err)
	}
	c.Process.Signal(unix.SIGWINCH)
	expect("1x1\r\n")
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if mode, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS); err != nil || mode.Lflag&unix.ECHO == 0 {
		t.Errorf("the terminal was not given back: %+v, %v", mode, err)
	}
}

// newPTY makes a terminal: its master and its other side.
func newPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, master.Fd(), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY)
	if errno != 0 {
		t.Fatal(errno)
	}
	slave = os.NewFile(fd, "terminal")
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func TestAProcessWithTheSamePidIsNotTheContainer(t *testing.T) {
	b := newBundle(t, "sleep")
	b.must("create", b.id)
	pid := b.state().Pid
	path := filepath.Join(b.root, b.id, "state.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var state map[string]any
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	state["pid"] = os.Getpid()
	if text, err = json.Marshal(state); err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if s := b.state(); s.Status != specs.StateStopped {
		t.Errorf("%+v", s)
	}
	b.refuses("container not running", "kill", b.id, "KILL")
	b.must("delete", b.id)
	if err := unix.Kill(pid, 0); err == nil && !zombie(pid) {
		t.Errorf("process %d, in the cgroup, lives", pid)
	}
}

// Without a PID namespace of its own nothing else ends with the first process.
func TestKillOfAContainerThatSharesTheHostsPIDs(t *testing.T) {
	for _, first := range []string{"lives", "has ended"} {
		t.Run("the first process "+first, func(t *testing.T) {
			b := newBundle(t, "sleep")
			b.spec.Linux.Namespaces = slices.DeleteFunc(b.spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.PIDNamespace })
			b.must("run", "--detach", b.id)
			other := b.execDetached()
			pid := b.state().Pid
			if first == "has ended" {
				if err := unix.Kill(pid, unix.SIGKILL); err != nil {
					t.Fatal(err)
				}
				b.wait(pid)
				if zombie(other) {
					t.Fatal("the other ended with it")
				}
			}
			b.must("kill", b.id, "KILL")
			for _, p := range []int{pid, other} {
				b.wait(p)
				if !zombie(p) {
					t.Errorf("process %d lives", p)
				}
			}
			b.refuses("container not running", "kill", b.id, "KILL")
		})
	}
}

func TestKillAll(t *testing.T) {
	b := newBundle(t, "leave")
	var kept []specs.LinuxNamespace
	for _, ns := range b.spec.Linux.Namespaces {
		if ns.Type != specs.PIDNamespace {
			kept = append(kept, ns)
		}
	}
	b.spec.Linux.Namespaces = kept
	out := b.must("run", "--keep", b.id)
	var pid int
	if _, err := fmt.Sscanf(out, "left %d", &pid); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	b.must("kill", "--all", b.id, "KILL")
	b.wait(pid)
	if err := unix.Kill(pid, 0); err == nil && !zombie(pid) {
		t.Errorf("process %d lives", pid)
	}
}

func TestOneOfTwoCreatesWins(t *testing.T) {
	b := newBundle(t, "sleep")
	bundletest.Write(t, b.dir, b.spec)
	var wg sync.WaitGroup
	results := make([]int, 4)
	for i := range results {
		wg.Go(func() {
			c := exec.Command(b.program, "--root", b.root, "create", "--bundle", b.dir, b.id)
			c.Run()
			results[i] = c.ProcessState.ExitCode()
		})
	}
	wg.Wait()
	won := 0
	for _, status := range results {
		if status == 0 {
			won++
		}
	}
	if won != 1 {
		t.Errorf("statuses %v, want one success", results)
	}
	if s := b.state(); s.Status != specs.StateCreated {
		t.Errorf("%+v", s)
	}
}

// killCycles is how often a runtime is killed: DRYDOCK_KILL_CYCLES, as 1000 for
// a long test, or few.
func killCycles(t *testing.T) int {
	t.Helper()
	text := os.Getenv("DRYDOCK_KILL_CYCLES")
	if text == "" {
		return 40
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("DRYDOCK_KILL_CYCLES: %v", err)
	}
	return n
}

func TestKilledCreateCanBeDeleted(t *testing.T) {
	b := newBundle(t, "sleep")
	started := time.Now()
	b.must("create", b.id)
	usual := time.Since(started)
	b.must("delete", "--force", b.id)
	left := map[specs.ContainerState]int{}
	for range killCycles(t) {
		c := b.command("create", b.id)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		// Not a wait for something, but the instant that is tested.
		time.Sleep(rand.N(usual * 5 / 4))
		c.Process.Kill()
		c.Wait()
		if out, status := b.runtime("state", b.id); status == 0 {
			var s oci.State
			if err := json.Unmarshal([]byte(out), &s); err != nil {
				t.Fatal(err)
			}
			left[s.Status]++
		} else {
			left["none"]++
		}
		b.must("delete", "--force", b.id)
		b.nothingIsLeft()
	}
	t.Logf("the killed invocations left: %v", left)
}
