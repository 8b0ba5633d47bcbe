//go:build linux

package namespaces

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) {
	play()
	os.Exit(hosttest.Run(m))
}

// programs are compiled once: what the containers of these tests run, and isolate.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "programs")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-o", dir+"/", "./internal/probe", "./cmd/isolate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir, os.Chmod(dir, 0o755)
})

// program is the path of one of them, which every user may execute.
func program(t testing.TB, name string) string {
	t.Helper()
	hosttest.Require(t, hosttest.Root)
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// isolateProgram is the path of the chapter's program.
func isolateProgram(t testing.TB) string { return program(t, "isolate") }

// newRoot makes a root file system that holds the probe.
func newRoot(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(program(t, "probe"))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.MkdirAll(root+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/bin/probe", b, 0o755); err != nil {
		t.Fatal(err)
	}
	os.Chmod(root, 0o755)
	return root
}

// view is what the probe prints.
type view struct {
	Pid, Ppid, UID, GID, Session int
	Hostname, Cwd                string
	Env, Args, FDs, Root         []string
	Groups                       []int
	Namespaces                   map[string]string
	Mountinfo, Status, Cgroup    string
	UIDMap                       string `json:"uid_map"`
	OOMScoreAdj                  string `json:"oom_score_adj"`
	Limits                       string
}

// run creates, starts and waits for a container and returns what it printed.
func run(t *testing.T, spec *specs.Spec, opt Options) (string, *os.ProcessState) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	opt.Stdout, opt.Stderr = w, os.Stderr
	p, err := Create(t.Context(), spec, opt)
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

func look(t *testing.T, spec *specs.Spec, opt Options) view {
	t.Helper()
	out, state := run(t, spec, opt)
	if !state.Success() {
		t.Fatalf("the probe ended with %v", state)
	}
	var v view
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return v
}

func (v view) statusLine(key string) string {
	for line := range strings.Lines(v.Status) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func TestEachNamespaceIsAnother(t *testing.T) {
	spec := NewSpec(newRoot(t), "probe")
	spec.Hostname = "inside"
	v := look(t, spec, Options{})
	for _, name := range []string{"mnt", "uts", "ipc", "pid", "net", "cgroup"} {
		host, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if v.Namespaces[name] == "" || v.Namespaces[name] == host {
			t.Errorf("%s namespace is %q, the host's is %q", name, v.Namespaces[name], host)
		}
	}
	if host, _ := os.Readlink("/proc/self/ns/user"); v.Namespaces["user"] != host {
		t.Errorf("user namespace %q was not asked for", v.Namespaces["user"])
	}
	if v.Pid != 1 || v.Ppid != 0 || v.Session != 1 {
		t.Errorf("pid %d, ppid %d, session %d: want 1, 0, 1", v.Pid, v.Ppid, v.Session)
	}
	if v.Hostname != "inside" {
		t.Errorf("hostname %q", v.Hostname)
	}
	if name, _ := os.Hostname(); name == "inside" {
		t.Error("the host was renamed")
	}
}

func TestTheRootIsAllThereIs(t *testing.T) {
	root := newRoot(t)
	v := look(t, NewSpec(root, "probe"), Options{})
	if got, want := strings.Join(v.Root, " "), "bin dev proc sys"; got != want {
		t.Errorf("/ holds %q, want %q", got, want)
	}
	for line := range strings.Lines(v.Mountinfo) {
		point := strings.Fields(line)[4]
		if point != "/" && !strings.HasPrefix(point, "/proc") && !strings.HasPrefix(point, "/dev") && !strings.HasPrefix(point, "/sys") {
			t.Errorf("a mount that nobody asked for: %s", line)
		}
	}
	if got, want := strings.Join(v.FDs, " "), "0 1 2"; got != want {
		t.Errorf("open descriptors %q, want %q", got, want)
	}
}

func TestMountOptionsHold(t *testing.T) {
	spec := NewSpec(newRoot(t), "probe", "write", "/data/file")
	volume := t.TempDir()
	spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/data", Source: volume, Options: []string{"rbind", "ro", "noexec"}})
	if out, _ := run(t, spec, Options{}); !strings.Contains(out, "read-only file system") {
		t.Errorf("a read-only volume was written: %s", out)
	}
	spec.Mounts[len(spec.Mounts)-1].Options = []string{"rbind", "rw"}
	if out, _ := run(t, spec, Options{}); strings.TrimSpace(out) != "<nil>" {
		t.Errorf("a writable volume was not written: %s", out)
	}
	if _, err := os.Stat(volume + "/file"); err != nil {
		t.Error(err)
	}
}

func TestMaskedAndReadonlyPaths(t *testing.T) {
	root := newRoot(t)
	for _, path := range []string{"/proc/sys/kernel/hostname", "/sys/kernel/mm/ksm/run"} {
		if out, _ := run(t, NewSpec(root, "probe", "write", path), Options{}); !strings.Contains(out, "read-only file system") {
			t.Errorf("write to %s: %s", path, out)
		}
	}
	v := look(t, NewSpec(root, "probe"), Options{})
	if !strings.Contains(v.Mountinfo, " /proc/timer_list ") {
		t.Errorf("/proc/timer_list is not covered:\n%s", v.Mountinfo)
	}
}

func TestReadonlyRoot(t *testing.T) {
	spec := NewSpec(newRoot(t), "probe", "write", "/file")
	spec.Root.Readonly = true
	if out, _ := run(t, spec, Options{}); !strings.Contains(out, "read-only file system") {
		t.Errorf("the root was written: %s", out)
	}
}

func TestTheWorkingDirectoryIsMade(t *testing.T) {
	spec := NewSpec(newRoot(t), "probe")
	spec.Process.Cwd = "/srv/app"
	if v := look(t, spec, Options{}); v.Cwd != "/srv/app" {
		t.Errorf("it began in %s", v.Cwd)
	}
}

func TestIgnoredSignalsAreNotInherited(t *testing.T) {
	signal.Ignore(syscall.SIGHUP)
	defer signal.Reset(syscall.SIGHUP)
	v := look(t, NewSpec(newRoot(t), "probe"), Options{})
	if got := v.statusLine("SigIgn"); got != "0000000000000000" {
		t.Errorf("the program ignores %s from its first moment on", got)
	}
}

func TestUserAndCapabilities(t *testing.T) {
	spec := NewSpec(newRoot(t), "probe")
	v := look(t, spec, Options{})
	if got := v.statusLine("CapEff"); got != "00000000a80425fb" {
		t.Errorf("root's effective capabilities are %s, want the fourteen default ones", got)
	}
	spec.Process.User = specs.User{UID: 1000, GID: 100, AdditionalGids: []uint32{7, 8}}
	v = look(t, spec, Options{})
	if v.UID != 1000 || v.GID != 100 || len(v.Groups) != 2 {
		t.Errorf("uid %d gid %d groups %v", v.UID, v.GID, v.Groups)
	}
	if got := v.statusLine("CapEff"); got != "0000000000000000" {
		t.Errorf("an ordinary user has capabilities %s", got)
	}
	if got := v.statusLine("CapBnd"); got != "00000000a80425fb" {
		t.Errorf("bounding set %s", got)
	}
	if got := v.statusLine("NoNewPrivs"); got != "1" {
		t.Errorf("no_new_privs is %s", got)
	}
}

func TestUserNamespace(t *testing.T) {
	hosttest.Require(t, hosttest.UserNamespaces)
	root := newRoot(t)
	openToAll(t, root) // root inside is user 100000 outside
	spec := NewSpec(root, "probe")
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	spec.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	spec.Linux.GIDMappings = spec.Linux.UIDMappings
	v := look(t, spec, Options{})
	if v.UID != 0 || strings.Join(strings.Fields(v.UIDMap), " ") != "0 100000 65536" {
		t.Errorf("uid %d, map %q", v.UID, v.UIDMap)
	}
	if host, _ := os.Readlink("/proc/self/ns/user"); v.Namespaces["user"] == host {
		t.Error("it is in the host's user namespace")
	}
}

func TestTimeNamespace(t *testing.T) {
	hosttest.Require(t, hosttest.TimeNamespaces)
	spec := NewSpec(newRoot(t), "probe")
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
	spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 86400}}
	v := look(t, spec, Options{})
	if host, _ := os.Readlink("/proc/self/ns/time"); v.Namespaces["time"] == host {
		t.Error("it is in the host's time namespace")
	}
}

func TestJoinANetworkNamespace(t *testing.T) {
	root := newRoot(t)
	first := NewSpec(root, "probe", "wait")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := Create(t.Context(), first, Options{Stdin: r})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Wait()
	defer w.Close()
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	spec := NewSpec(root, "probe")
	for i, ns := range spec.Linux.Namespaces {
		file := map[specs.LinuxNamespaceType]string{specs.NetworkNamespace: "net", specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts"}[ns.Type]
		if file != "" {
			spec.Linux.Namespaces[i].Path = filepath.Join("/proc", itoa(p.Pid), "ns", file)
		}
	}
	v := look(t, spec, Options{})
	for _, file := range []string{"net", "ipc", "uts"} {
		want, err := os.Readlink(filepath.Join("/proc", itoa(p.Pid), "ns", file))
		if err != nil {
			t.Fatal(err)
		}
		if v.Namespaces[file] != want {
			t.Errorf("%s namespace %s, want %s", file, v.Namespaces[file], want)
		}
		if own, _ := os.Readlink("/proc/thread-self/ns/" + file); own == want {
			t.Errorf("the caller itself is in the %s namespace", file)
		}
	}
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestNothingRunsBeforeStart(t *testing.T) {
	root := newRoot(t)
	p, err := Create(t.Context(), NewSpec(root, "probe", "write", "/ran"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	// In the gap the process is inside, and its program has not begun.
	if ns, err := os.Readlink("/proc/" + itoa(p.Pid) + "/ns/pid"); err != nil || ns == "" {
		t.Errorf("%q %v", ns, err)
	}
	if _, err := os.Stat(root + "/ran"); err == nil {
		t.Error("the program ran before it was started")
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Wait()
	if _, err := os.Stat(root + "/ran"); err != nil {
		t.Error(err)
	}
}

func TestStartByFifo(t *testing.T) {
	root := newRoot(t)
	fifo := filepath.Join(t.TempDir(), "exec.fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Start(t.Context(), fifo); err != ErrNotWaiting {
		t.Errorf("nobody waits: %v, want %v", err, ErrNotWaiting)
	}
	p, err := Create(t.Context(), NewSpec(root, "probe", "exit", "7"), Options{Fifo: fifo})
	if err != nil {
		t.Fatal(err)
	}
	if err := Start(t.Context(), fifo); err != nil {
		t.Fatal(err)
	}
	state, err := p.Wait()
	if err != nil || state.ExitCode() != 7 {
		t.Errorf("%v %v, want status 7", state, err)
	}
	if err := Start(t.Context(), fifo); err != ErrNotWaiting {
		t.Errorf("it has gone: %v, want %v", err, ErrNotWaiting)
	}
}

func TestHooks(t *testing.T) {
	root := newRoot(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "hook")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ncat >"+dir+"/$1\nexit $2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	spec := NewSpec(root, "probe")
	spec.Hooks = &specs.Hooks{CreateContainer: []specs.Hook{{Path: script, Args: []string{"hook", "createContainer", "0"}, Env: []string{"PATH=/bin:/usr/bin"}}}}
	called := false
	run(t, spec, Options{State: &specs.State{ID: "x"}, Prestart: func(int) error { called = true; return nil }})
	if !called {
		t.Error("Prestart was not called")
	}
	b, err := os.ReadFile(dir + "/createContainer")
	if err != nil || !bytes.Contains(b, []byte(`"status":"creating"`)) {
		t.Errorf("the hook read %q (%v)", b, err)
	}
	spec.Hooks.CreateContainer[0].Args[2] = "3"
	if _, err := Create(t.Context(), spec, Options{State: &specs.State{ID: "x"}}); err == nil || !strings.Contains(err.Error(), "hooks.createContainer[0]: "+script+": exit status 3") {
		t.Errorf("a failing hook: %v", err)
	}
}

func TestConsole(t *testing.T) {
	spec := NewSpec(newRoot(t), "probe")
	spec.Process.Terminal = true
	spec.Process.ConsoleSize = &specs.Box{Height: 24, Width: 80}
	if _, err := Create(t.Context(), spec, Options{}); err == nil || !strings.Contains(err.Error(), "no console socket") {
		t.Errorf("a terminal without a console socket: %v", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "console")
	p, err := Create(t.Context(), spec, Options{ConsoleSocket: theirs})
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[0], make([]byte, 32), oob, 0)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		t.Fatal(err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fds[0]), "terminal")
	defer master.Close()
	if size, err := unix.IoctlGetWinsize(fds[0], unix.TIOCGWINSZ); err != nil || size.Row != 24 || size.Col != 80 {
		t.Errorf("size %v %v", size, err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, _ := io.ReadAll(master) // ends with EIO when the last process has closed the other side
	p.Wait()
	if !strings.Contains(string(out), `"pid":1`) || !strings.Contains(string(out), "/dev/console") {
		t.Errorf("the terminal shows %q", out)
	}
}

func TestADeadCreatorTakesItsBoundContainerAlong(t *testing.T) {
	root := newRoot(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stdin, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	cmd := exec.Command(isolateProgram(t), root, "probe", "wait")
	cmd.Stdin, cmd.Stdout = stdin, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if n, err := r.Read(make([]byte, 16)); n == 0 {
		t.Fatal(err)
	}
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()
	// The pipe ends when the last process that holds it is gone: the container's.
	if _, err := io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
}

func TestPrograms(t *testing.T) {
	root := newRoot(t)
	if err := os.WriteFile(root+"/bin/plain", []byte("no program\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/bin/garbage", []byte("no program\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		program, want string
		status        int
	}{
		{"nosuch", `exec: "nosuch": executable file not found in $PATH`, 127},
		{"/bin/nosuch", `exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory`, 127},
		{"/bin", `exec: "/bin": /bin: is a directory`, 126},
		{"plain", `exec: "plain": /bin/plain: permission denied`, 126},
	} {
		_, err := Create(t.Context(), NewSpec(root, c.program), Options{})
		if err == nil || err.Error() != c.want || ExitStatus(err) != c.status {
			t.Errorf("%s: %v (%d), want %s (%d)", c.program, err, ExitStatus(err), c.want, c.status)
		}
	}
	p, err := Create(t.Context(), NewSpec(root, "garbage"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err == nil || err.Error() != "exec /bin/garbage: exec format error" {
		t.Errorf("garbage: %v", err)
	}
	p.Wait()
}

func TestBadSpecs(t *testing.T) {
	root := newRoot(t)
	for name, c := range map[string]struct {
		change func(*specs.Spec)
		want   string
	}{
		"no program":        {func(s *specs.Spec) { s.Process.Args = nil }, "process.args is empty: name the program to run"},
		"relative root":     {func(s *specs.Spec) { s.Root.Path = "rootfs" }, "root.path is not absolute: name the directory of the root file system from / on"},
		"no such root":      {func(s *specs.Spec) { s.Root.Path = "/nosuch" }, "container init: root: open_tree /nosuch: no such file or directory"},
		"relative cwd":      {func(s *specs.Spec) { s.Process.Cwd = "tmp" }, `process.cwd "tmp" is not absolute: give it from / on, as seen inside`},
		"no directory":      {func(s *specs.Spec) { s.Process.Cwd = "/bin/probe" }, "container init: change directory: process.cwd: chdir /bin/probe: not a directory"},
		"the host's name":   {func(s *specs.Spec) { s.Hostname = "x"; s.Linux.Namespaces = s.Linux.Namespaces[:1] }, `hostname "x" without a uts namespace would rename the host: add one to linux.namespaces`},
		"unknown namespace": {func(s *specs.Spec) { s.Linux.Namespaces[0].Type = "disk" }, `linux.namespaces: type "disk" is none of user, cgroup, ipc, uts, network, pid, time, mount`},
		"twice":             {func(s *specs.Spec) { s.Linux.Namespaces[1].Type = specs.MountNamespace }, `linux.namespaces: type "mount" stands there twice: name each type once`},
		"no such path":      {func(s *specs.Spec) { s.Linux.Namespaces[4].Path = "/nosuch" }, "join the network namespace: open /nosuch: no such file or directory"},
		"another kind":      {func(s *specs.Spec) { s.Linux.Namespaces[4].Path = "/proc/self/ns/uts" }, "join the network namespace: setns /proc/self/ns/uts: invalid argument"},
		"rlimit":            {func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_X"}} }, `container init: limits: process.rlimits: "RLIMIT_X" is no resource of getrlimit(2)`},
		"mount source": {func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Source: "/nosuch", Options: []string{"bind"}})
		}, "container init: mounts: mount /nosuch (bind) on /x: open_tree /nosuch: no such file or directory"},
		"file system":       {func(s *specs.Spec) { s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Type: "nosuchfs"}) }, "container init: mounts: mount none (nosuchfs) on /x: fsopen nosuchfs: no such device"},
		"mount option":      {func(s *specs.Spec) { s.Mounts[1].Options = append(s.Mounts[1].Options, "colour=red") }, `container init: mounts: mount tmpfs (tmpfs) on /dev: option "colour=red": invalid argument (tmpfs: Unknown parameter 'colour')`},
		"sysctl":            {func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"../../etc/passwd": "x"} }, `linux.sysctl: ../../etc/passwd is the whole machine's: no namespace has it`},
		"the host's sysctl": {func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.panic": "1"} }, `linux.sysctl: kernel.panic is the whole machine's: no namespace has it`},
		"the host's network": {func(s *specs.Spec) {
			s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
			without(s, specs.NetworkNamespace)
		}, "linux.sysctl: net.ipv4.ip_forward would change the host without a network namespace: add one to linux.namespaces"},
		"sysctl's value":    {func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "maybe"} }, `container init: sysctl: write "maybe" to /proc/sys/net/ipv4/ip_forward: invalid argument`},
		"the host's mounts": {func(s *specs.Spec) { without(s, specs.MountNamespace) }, "linux.maskedPaths and linux.readonlyPaths without a mount namespace would be made on the host: add one to linux.namespaces"},
		"the host's clocks": {func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1}} }, "linux.timeOffsets without a time namespace: add one to linux.namespaces"},
		"clock": {func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"realtime": {Secs: 1}}
		}, `linux.timeOffsets: clock "realtime" is none of boottime, monotonic`},
		"the host's users": {func(s *specs.Spec) { s.Linux.UIDMappings = []specs.LinuxIDMapping{{Size: 1}} }, "linux.uidMappings and linux.gidMappings without a user namespace: add one to linux.namespaces"},
		"domain name":      {func(s *specs.Spec) { s.Domainname = strings.Repeat("x", 65) }, `container init: host name: set "` + strings.Repeat("x", 65) + `": setdomainname: invalid argument`},
		"host name":        {func(s *specs.Spec) { s.Hostname = strings.Repeat("x", 65) }, `container init: host name: set "` + strings.Repeat("x", 65) + `": sethostname: invalid argument`},
		"no root":          {func(s *specs.Spec) { s.Root = nil }, "root.path is not absolute: name the directory of the root file system from / on"},
		"no process":       {func(s *specs.Spec) { s.Process = nil }, "process.args is empty: name the program to run"},
		"no section":       {func(s *specs.Spec) { s.Linux = nil }, "linux is missing: a container of this kernel needs that section"},
		"mount target":     {func(s *specs.Spec) { s.Mounts = append(s.Mounts, specs.Mount{Type: "tmpfs"}) }, "mounts[6]: destination is empty: name a path in the container"},
		"masked path":      {func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"proc/kcore"} }, `linux.maskedPaths: "proc/kcore" is not absolute: give it from / on, as seen inside`},
		"read-only path":   {func(s *specs.Spec) { s.Linux.ReadonlyPaths = []string{"bin"} }, `linux.readonlyPaths: "bin" is not absolute: give it from / on, as seen inside`},
		"device":           {func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "x", Type: "c"}} }, `linux.devices: "x" is not absolute: give it from / on, as seen inside`},
		"device type":      {func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "d"}} }, `container init: devices: /dev/x: type "d" is none of c, u, b, p`},
		"device number":    {func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/null", Type: "c", Major: 9}} }, "container init: devices: /dev/null: something else is there already (mode 020666, device 1:3)"},
		"propagation":      {func(s *specs.Spec) { s.Linux.RootfsPropagation = "public" }, `linux.rootfsPropagation "public" is none of private, slave, shared, unbindable`},
		"rlimit twice": {func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}, {Type: "RLIMIT_CORE"}}
		}, "container init: limits: process.rlimits: RLIMIT_CORE stands there twice: name each once"},
		"soft above hard": {func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 2, Hard: 1}} }, "container init: limits: process.rlimits: RLIMIT_CORE: soft limit 2 is above hard limit 1"},
		"oom score":       {func(s *specs.Spec) { n := 5000; s.Process.OOMScoreAdj = &n }, `container init: limits: write "5000" to /proc/self/oom_score_adj: invalid argument`},
		"scheduler":       {func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: "SCHED_X"} }, `container init: scheduling: process.scheduler: policy "SCHED_X" is none of sched_setattr(2)`},
		"I/O priority":    {func(s *specs.Spec) { s.Process.IOPriority = &specs.LinuxIOPriority{Class: "X"} }, `container init: scheduling: process.ioPriority.class "X": want IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE`},
		"personality":     {func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{Domain: "SUN"} }, `container init: personality: linux.personality.domain "SUN": want LINUX or LINUX32`},
		"memory policy":   {func(s *specs.Spec) { s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: "X"} }, `container init: memory policy: linux.memoryPolicy: invalid memory policy mode "X": it is none of set_mempolicy(2)`},
	} {
		t.Run(name, func(t *testing.T) {
			spec := NewSpec(root, "probe")
			c.change(spec)
			if _, err := Create(t.Context(), spec, Options{}); err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// TestMountsStayInsideTheRoot puts symbolic links that lead out of the root
// where mounts and devices will be made.
func TestMountsStayInsideTheRoot(t *testing.T) {
	root, outside := newRoot(t), t.TempDir()
	for link, target := range map[string]string{"data": outside, "up": "../../../../../.." + outside, "proc": outside} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	volume := t.TempDir()
	spec := NewSpec(root, "probe")
	spec.Mounts = append(spec.Mounts,
		specs.Mount{Destination: "/data/volume", Source: volume, Options: []string{"bind"}},
		specs.Mount{Destination: "/up/volume", Source: volume, Options: []string{"bind"}})
	p, err := Create(t.Context(), spec, Options{})
	if err == nil {
		p.Kill()
		p.Wait()
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 0 {
		t.Errorf("something was made outside of the root: %v", entries)
	}
}
