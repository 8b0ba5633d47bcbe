//go:build linux

package namespaces

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// running starts a container that waits until the test ends.
func running(t *testing.T, spec *specs.Spec) *Process {
	t.Helper()
	stdin, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	spec.Process.Args = []string{"probe", "wait"}
	p, err := Create(t.Context(), spec, Options{Stdin: stdin, Stdout: w, Stderr: os.Stderr})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hold.Close(); p.Kill(); p.Wait() })
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	return p
}

// execIn starts a process in a container and returns what it printed.
func execIn(t *testing.T, pid int, process *specs.Process, opt Options) (string, *os.ProcessState) {
	t.Helper()
	target, err := OpenProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	opt.Stdout, opt.Stderr = w, os.Stderr
	opt.Init = static(t)
	p, err := Exec(t.Context(), target, process, opt)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		p.Wait()
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	state, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return string(out), state
}

// static is a statically linked program that calls Init: with the race detector
// this test is none.
func static(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open(program(t, "probe"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func namespacesOf(t *testing.T, pid int) map[string]string {
	t.Helper()
	ns := map[string]string{}
	for _, k := range kinds {
		link, err := os.Readlink(filepath.Join("/proc", itoa(pid), "ns", k.file))
		if err != nil {
			t.Fatal(err)
		}
		ns[k.file] = link
	}
	return ns
}

// everyNamespace is a spec with a new namespace of each kind.
func everyNamespace(t *testing.T) *specs.Spec {
	t.Helper()
	hosttest.Require(t, hosttest.UserNamespaces, hosttest.TimeNamespaces)
	root := newRoot(t)
	openToAll(t, root)
	spec := NewSpec(root, "probe")
	spec.Hostname = "ship"
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace}, specs.LinuxNamespace{Type: specs.TimeNamespace})
	spec.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	spec.Linux.GIDMappings = spec.Linux.UIDMappings
	spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 86400}}
	return spec
}

// openToAll lets every user of the machine pass to root, and makes what only
// root could make there.
func openToAll(t *testing.T, root string) {
	t.Helper()
	for dir := root; dir != "/"; dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err != nil || st.Mode()&1 == 0 {
			os.Chmod(dir, 0o755)
		}
	}
	for _, dir := range []string{"proc", "dev", "sys"} {
		os.Mkdir(filepath.Join(root, dir), 0o755)
	}
}

func TestExecEntersAllNamespaces(t *testing.T) {
	for name, spec := range map[string]*specs.Spec{"all eight": everyNamespace(t), "the usual ones": NewSpec(newRoot(t), "probe")} {
		t.Run(name, func(t *testing.T) {
			p := running(t, spec)
			process := *spec.Process
			process.Args = []string{"probe"}
			process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 0, Hard: 0}}
			before := namespacesOf(t, os.Getpid())
			out, state := execIn(t, p.Pid, &process, Options{})
			var v view
			if err := json.Unmarshal([]byte(out), &v); err != nil || !state.Success() {
				t.Fatalf("%v %v in %q", state, err, out)
			}
			for file, want := range namespacesOf(t, p.Pid) {
				if v.Namespaces[file] != want {
					t.Errorf("%s namespace %s, want the container's, %s", file, v.Namespaces[file], want)
				}
			}
			for file, want := range namespacesOf(t, os.Getpid()) {
				if before[file] != want {
					t.Errorf("the caller is in another %s namespace now", file)
				}
			}
			if v.Pid == 1 || v.Pid > 10 || v.Ppid != 0 || v.Session != v.Pid {
				t.Errorf("pid %d, ppid %d, session %d: want a small number, a parent outside, a session of its own", v.Pid, v.Ppid, v.Session)
			}
			if v.Hostname != spec.Hostname && spec.Hostname != "" || v.UID != 0 || v.GID != 0 {
				t.Errorf("hostname %q uid %d gid %d", v.Hostname, v.UID, v.GID)
			}
			if got, want := v.statusLine("CapEff"), "00000000a80425fb"; got != want {
				t.Errorf("effective capabilities %s, want %s", got, want)
			}
			if got := v.statusLine("NoNewPrivs"); got != "1" {
				t.Errorf("no_new_privs is %s", got)
			}
			if got, want := strings.Join(v.FDs, " "), "0 1 2"; got != want {
				t.Errorf("open descriptors %q, want %q", got, want)
			}
			if got, want := strings.Join(v.Root, " "), "bin dev proc sys"; got != want {
				t.Errorf("/ holds %q, want %q", got, want)
			}
			var core, files unix.Rlimit
			if err := unix.Prlimit(p.Pid, unix.RLIMIT_NOFILE, nil, &files); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(v.Limits) {
				if f := strings.Fields(line); strings.HasPrefix(line, "Max open files") && (f[3] != itoa(int(files.Cur)) || f[4] != itoa(int(files.Max))) {
					t.Errorf("%q: want the container's, %d and %d", line, files.Cur, files.Max)
				} else if strings.HasPrefix(line, "Max core file") && f[4] != itoa(int(core.Cur)) {
					t.Errorf("%q: want 0", line)
				}
			}
		})
	}
}

func TestExecAsAnotherUser(t *testing.T) {
	spec := everyNamespace(t)
	p := running(t, spec)
	process := *spec.Process
	process.Args = []string{"probe"}
	process.User = specs.User{UID: 1000, GID: 100, AdditionalGids: []uint32{7}}
	out, _ := execIn(t, p.Pid, &process, Options{})
	var v view
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	if v.UID != 1000 || v.GID != 100 || !slices.Equal(v.Groups, []int{7}) || v.statusLine("CapEff") != "0000000000000000" {
		t.Errorf("uid %d gid %d groups %v capabilities %s", v.UID, v.GID, v.Groups, v.statusLine("CapEff"))
	}
}

func TestExecWaitsAndCanBeKilled(t *testing.T) {
	spec := NewSpec(newRoot(t), "probe")
	container := running(t, spec)
	target, err := OpenProcess(container.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	process := *spec.Process
	process.Args = []string{"probe", "write", "/ran"}
	p, err := Exec(t.Context(), target, &process, Options{Init: static(t)})
	if err != nil {
		t.Fatal(err)
	}
	if ns, want := namespacesOf(t, p.Pid)["pid"], namespacesOf(t, container.Pid)["pid"]; ns != want {
		t.Errorf("in the gap it is in the PID namespace %s, want %s", ns, want)
	}
	p.Kill()
	state, err := p.Wait()
	if err != nil || state.Success() {
		t.Errorf("%v %v", state, err)
	}
	if _, err := os.Stat(spec.Root.Path + "/ran"); err == nil {
		t.Error("the program ran before it was started")
	}
}

func TestExecRefusals(t *testing.T) {
	spec := NewSpec(newRoot(t), "probe")
	p := running(t, spec)
	target, err := OpenProcess(p.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	exec := func(target *os.File, change func(*specs.Process)) error {
		process := *spec.Process
		process.Args = []string{"probe"}
		change(&process)
		_, err := Exec(t.Context(), target, &process, Options{Init: static(t)})
		return err
	}
	err = exec(target, func(p *specs.Process) { p.Args = []string{"nosuch"} })
	if err == nil || err.Error() != `exec: "nosuch": executable file not found in $PATH` || ExitStatus(err) != 127 {
		t.Errorf("no such program: %v (%d)", err, ExitStatus(err))
	}
	if err := exec(target, func(p *specs.Process) { p.Cwd = "/nosuch" }); err == nil || !strings.HasSuffix(err.Error(), ": process.cwd: chdir /nosuch: no such file or directory") {
		t.Errorf("no such directory: %v", err)
	}
	if err := exec(target, func(p *specs.Process) { p.Args = nil }); err == nil || err.Error() != "process.args is empty: name the program to run" {
		t.Errorf("no program: %v", err)
	}
	if err := exec(os.Stderr, func(*specs.Process) {}); err == nil || !strings.Contains(err.Error(), "is not a pidfd: open the process by OpenProcess") {
		t.Errorf("no pidfd: %v", err)
	}
	p.Kill()
	p.proc.Wait()
	if err := exec(target, func(*specs.Process) {}); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the process has ended: %v", err)
	}
	if _, err := OpenProcess(1 << 30); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ESRCH) {
		t.Errorf("no such process: %v", err)
	}
}

// TestJoinByPath has a second container share every namespace of a first one,
// one by one, also those that only a process with one thread may enter.
func TestJoinByPath(t *testing.T) {
	spec := everyNamespace(t)
	first := running(t, spec)
	for _, shared := range [][]string{{"user", "time", "network", "ipc", "uts"}, {"user", "pid"}, {"time"}, {"mount", "pid"}} {
		second := NewSpec(spec.Root.Path, "probe")
		want := namespacesOf(t, first.Pid)
		second.Linux.Namespaces = append(second.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace}, specs.LinuxNamespace{Type: specs.TimeNamespace})
		if !slices.Contains(shared, "user") {
			second.Linux.UIDMappings, second.Linux.GIDMappings = spec.Linux.UIDMappings, spec.Linux.GIDMappings
		}
		if slices.Contains(shared, "mount") {
			second.Mounts, second.Linux.ReadonlyPaths, second.Linux.MaskedPaths = nil, nil, nil
			second.Linux.UIDMappings, second.Linux.GIDMappings = nil, nil
			second.Root.Path = "/"
			second.Linux.Namespaces = slices.DeleteFunc(second.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.UserNamespace })
		}
		files := map[specs.LinuxNamespaceType]string{}
		for _, k := range kinds {
			files[k.name] = k.file
		}
		for i, ns := range second.Linux.Namespaces {
			if slices.Contains(shared, string(ns.Type)) {
				second.Linux.Namespaces[i].Path = filepath.Join("/proc", itoa(first.Pid), "ns", files[ns.Type])
			}
		}
		t.Run(strings.Join(shared, " "), func(t *testing.T) {
			v := look(t, second, Options{Init: static(t)})
			for kind, file := range files {
				if is := v.Namespaces[file] == want[file]; is != slices.Contains(shared, string(kind)) {
					t.Errorf("%s namespace is %s, the first container's %s", kind, v.Namespaces[file], want[file])
				}
			}
		})
	}
}

// TestForkOfABusyProgram forks while other threads of this program allocate,
// collect garbage and fork too: what the child must never wait for.
func TestForkOfABusyProgram(t *testing.T) {
	spec := NewSpec(newRoot(t), "probe")
	container := running(t, spec)
	target, err := OpenProcess(container.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	program := static(t)
	stop := make(chan struct{})
	var busy, forking sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					runtime.GC()
					_ = make([]*int, 1<<16)
				}
			}
		})
	}
	for range 4 {
		forking.Go(func() {
			for range 25 {
				process := *spec.Process
				process.Args = []string{"probe", "exit", "3"}
				p, err := Exec(t.Context(), target, &process, Options{Init: program})
				if err != nil {
					t.Error(err)
					return
				}
				if err := p.Start(t.Context()); err != nil {
					t.Error(err)
				}
				if state, err := p.Wait(); err != nil || state.ExitCode() != 3 {
					t.Errorf("%v %v, want status 3", state, err)
				}
			}
		})
	}
	forking.Wait()
	close(stop)
	busy.Wait()
}

// TestNobodyWritesTheHostsProgram is the attack of CVE-2019-5736: the program of
// the container is a way to its own init, the host's file, and writes it.
func TestNobodyWritesTheHostsProgram(t *testing.T) {
	init := static(t)
	spec := NewSpec(newRoot(t), "/proc/self/exe", "write", "/proc/self/exe")
	if out, _ := run(t, spec, Options{Init: init}); !strings.Contains(out, "read-only file system") {
		t.Errorf("a new container's init: %s", out)
	}
	p := running(t, NewSpec(spec.Root.Path, "probe"))
	if out, _ := execIn(t, p.Pid, spec.Process, Options{}); !strings.Contains(out, "read-only file system") {
		t.Errorf("a further process's init: %s", out)
	}
	sealed, err := sealedCopy(t.Context(), init)
	if err != nil {
		t.Fatal(err)
	}
	defer sealed.Close()
	f, err := os.OpenFile("/proc/self/fd/"+itoa(int(sealed.Fd())), os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt([]byte("x"), 0)
		f.Close()
	}
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("write to the copy in memory: %v, want EPERM", err)
	}
}
