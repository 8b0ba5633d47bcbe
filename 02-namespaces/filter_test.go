//go:build linux

package namespaces

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// filtered is a container that makes one system call under a filter.
func filtered(t *testing.T, noNewPrivileges bool, p *specs.LinuxSeccomp, number uint32, args ...uint64) *specs.Spec {
	t.Helper()
	argv := []string{"/bin/probe", "call", fmt.Sprint(number)}
	for _, a := range args {
		argv = append(argv, fmt.Sprint(a))
	}
	spec := NewSpec(newRoot(t), argv...)
	spec.Process.NoNewPrivileges = noNewPrivileges
	spec.Process.User = specs.User{UID: 1000, GID: 1000}
	spec.Process.Env = append(spec.Process.Env, "GOTRACEBACK=none")
	spec.Linux.Seccomp = p
	return spec
}

func rule(action specs.LinuxSeccompAction, names ...string) specs.LinuxSyscall {
	return specs.LinuxSyscall{Names: names, Action: action}
}

func TestTheKernelAnswersAsTheProfileSays(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"getppid"}, Action: specs.ActErrno, ErrnoRet: new(uint(unix.EXDEV))},
		{Names: []string{"getsid"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{
			{Index: 0, Value: 1 << 40, Op: specs.OpGreaterEqual}, {Index: 1, Value: 0xff << 32, ValueTwo: 7 << 32, Op: specs.OpMaskedEqual},
		}},
		rule(specs.ActKillProcess, "sync"), rule(specs.ActLog, "getpgid"), rule(specs.ActTrace, "sethostname"),
		rule(specs.ActTrap, "syncfs"),
	}}
	for _, c := range []struct {
		number uint32
		args   []uint64
		want   string // what the program prints, or the signal that ends it
	}{
		{unix.SYS_GETPPID, nil, "EXDEV"},
		{unix.SYS_GETSID, []uint64{1 << 40, 0x1007 << 32}, "EPERM"},
		{unix.SYS_GETSID, []uint64{0, 7 << 32}, ""},
		{unix.SYS_GETSID, []uint64{1 << 40, 8 << 32}, ""},
		{unix.SYS_SYNC, nil, "signal: bad system call"},
		{unix.SYS_GETPGID, nil, ""},
		{unix.SYS_SETHOSTNAME, nil, "ENOSYS"},   // there is no tracer
		{unix.SYS_SYNCFS, nil, "exit status 2"}, // SIGSYS, for which the Go runtime has a handler
	} {
		for _, noNewPrivileges := range []bool{true, false} {
			out, state := run(t, filtered(t, noNewPrivileges, p, c.number, c.args...), Options{})
			got := strings.TrimSpace(out)
			if !state.Success() {
				got = strings.TrimSuffix(state.String(), " (core dumped)")
			}
			if got != c.want {
				t.Errorf("no_new_privs %t, call %d%v: %q, want %q", noNewPrivileges, c.number, c.args, got, c.want)
			}
		}
	}
}

// TestALabelComesBeforeTheFilter: a profile that was written before openat2(2)
// answers it with EPERM, and without no_new_privs it is loaded early.
func TestALabelComesBeforeTheFilter(t *testing.T) {
	if !AppArmor() {
		t.Skip("requires AppArmor")
	}
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{rule(specs.ActErrno, "openat2")}}
	for _, noNewPrivileges := range []bool{true, false} {
		spec := filtered(t, noNewPrivileges, p, unix.SYS_GETPID)
		spec.Process.Args = []string{"/bin/probe", "read", "/proc/self/attr/current"}
		spec.Process.ApparmorProfile = "unconfined" // the one that every kernel has
		if out, state := run(t, spec, Options{}); !state.Success() || !strings.HasPrefix(out, "unconfined") {
			t.Errorf("no_new_privs %t: %q, %v", noNewPrivileges, out, state)
		}
	}
}

// TestAForeignABIIsKilled: x32's numbers are another ABI's, and nobody has listed it.
func TestAForeignABIIsKilled(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("x32 is an ABI of amd64")
	}
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
	_, state := run(t, filtered(t, true, p, unix.SYS_GETPID|1<<30), Options{})
	if ws := state.Sys().(syscall.WaitStatus); ws.Signal() != unix.SIGSYS {
		t.Errorf("the program ended with %v, want SIGSYS", state)
	}
}

// goNeeds are the calls that a Go program makes to say one line.
var goNeeds = []string{
	"arch_prctl", "brk", "clone", "close", "epoll_create1", "epoll_ctl", "epoll_pwait", "eventfd2", "execve", "exit", "exit_group", "fcntl", "futex", "getpid", "gettid",
	"madvise", "mmap", "mprotect", "munmap", "nanosleep", "openat", "pread64", "prctl", "prlimit64", "read", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sched_getaffinity",
	"sched_yield", "set_robust_list", "sigaltstack", "tgkill", "uname", "write", "readlinkat",
}

// TestCallsNewerThanTheProfile: a program that finds a call missing tries an older one.
func TestCallsNewerThanTheProfile(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{rule(specs.ActAllow, goNeeds...)}}
	for number, want := range map[uint32]string{unix.SYS_FACCESSAT2: "ENOSYS", unix.SYS_OPENAT2: "ENOSYS", unix.SYS_MOUNT: "EPERM", unix.SYS_UNSHARE: "EPERM"} {
		if out, state := run(t, filtered(t, true, p, number), Options{}); strings.TrimSpace(out) != want || !state.Success() {
			t.Errorf("call %d: %q, %v, want %s", number, out, state, want)
		}
	}
}

// TestAFilterNeedNotAllowWhatInitDoes: what the process does before execve is not the profile's business.
func TestAFilterNeedNotAllowWhatInitDoes(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
		rule(specs.ActKillProcess, "capset", "capget", "setresuid", "setresgid", "setgroups", "chdir", "getcwd", "faccessat2", "faccessat", "recvmsg", "sendmsg"),
	}}
	if out, state := run(t, filtered(t, true, p, unix.SYS_GETPID), Options{}); !state.Success() {
		t.Errorf("%q, %v", out, state)
	}
}

func TestAFilterIsInStatus(t *testing.T) {
	for _, noNewPrivileges := range []bool{true, false} {
		spec := NewSpec(newRoot(t), "/bin/probe")
		spec.Process.NoNewPrivileges = noNewPrivileges
		spec.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{rule(specs.ActErrno, "keyctl")}}
		v := look(t, spec, Options{})
		if mode, n := v.statusLine("Seccomp"), v.statusLine("Seccomp_filters"); mode != "2" || n != "1" {
			t.Errorf("Seccomp %q, Seccomp_filters %q, want 2 and 1", mode, n)
		}
	}
}

// TestAnotherProcessHasTheFilterToo: a process that joins a container is held by what holds the container.
func TestAnotherProcessHasTheFilterToo(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"getppid"}, Action: specs.ActErrno, ErrnoRet: new(uint(unix.EXDEV))}}}
	c := running(t, filtered(t, true, p, 0))
	process := NewSpec("/", "/bin/probe", "call", fmt.Sprint(unix.SYS_GETPPID)).Process
	for _, process.NoNewPrivileges = range []bool{true, false} {
		if out, state := execIn(t, c.Pid, process, Options{Seccomp: p}); strings.TrimSpace(out) != "EXDEV" {
			t.Errorf("no_new_privs %t: %q, %v", process.NoNewPrivileges, out, state)
		}
	}
}

func TestABadProfileIsRefused(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	spec := NewSpec(t.TempDir(), "/bin/probe")
	spec.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: "SCMP_ACT_MAYBE"}
	const want = `linux.seccomp.defaultAction: "SCMP_ACT_MAYBE": want one of`
	if _, err := Create(t.Context(), spec, Options{}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// notification is struct seccomp_notif.
type notification struct {
	ID    uint64
	Pid   uint32
	Flags uint32
	Call  struct {
		Number int32
		Arch   uint32
		IP     uint64
		Args   [6]uint64
	}
}

// reply is struct seccomp_notif_resp.
type reply struct {
	ID    uint64
	Value int64
	Error int32
	Flags uint32
}

func TestAListenerDecides(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	path := filepath.Join(t.TempDir(), "listener")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: path, ListenerMetadata: "m", Syscalls: []specs.LinuxSyscall{rule(specs.ActNotify, "sync")}}
	type result struct {
		state specs.ContainerProcessState
		call  int32
		err   error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() { done <- r }()
		conn, err := l.AcceptUnix()
		if err != nil {
			r.err = err
			return
		}
		defer conn.Close()
		text, control := make([]byte, 4096), make([]byte, 64)
		n, cn, _, _, err := conn.ReadMsgUnix(text, control)
		if err == nil {
			err = json.Unmarshal(text[:n], &r.state)
		}
		if err != nil {
			r.err = err
			return
		}
		messages, err := unix.ParseSocketControlMessage(control[:cn])
		if err == nil && len(messages) != 1 {
			err = fmt.Errorf("%d messages", len(messages))
		}
		if err != nil {
			r.err = err
			return
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil {
			r.err = err
			return
		}
		defer unix.Close(fds[0])
		var event notification
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fds[0]), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&event))); errno != 0 {
			r.err = errno
			return
		}
		r.call = event.Call.Number
		decided := reply{ID: event.ID, Error: -int32(unix.EXFULL)}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fds[0]), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&decided))); errno != 0 {
			r.err = errno
		}
	}()
	out, state := run(t, filtered(t, true, p, unix.SYS_SYNC), Options{State: &specs.State{ID: "c1"}})
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	if strings.TrimSpace(out) != "EXFULL" || !state.Success() || r.call != unix.SYS_SYNC {
		t.Errorf("the program printed %q and ended with %v; the listener was asked about call %d", out, state, r.call)
	}
	if s := r.state; len(s.Fds) != 1 || s.Fds[0] != "seccompFd" || s.Metadata != "m" || s.Pid == 0 || s.State.Pid != s.Pid || s.State.ID != "c1" || s.State.Status != specs.StateCreating {
		t.Errorf("the listener was told %+v", s)
	}

	p.ListenerPath = filepath.Join(t.TempDir(), "nobody")
	if _, err := Create(t.Context(), filtered(t, true, p, unix.SYS_SYNC), Options{}); err == nil || !strings.Contains(err.Error(), "linux.seccomp.listenerPath: failed to connect with seccomp agent: connect "+p.ListenerPath) {
		t.Errorf("without a listener: %v", err)
	}
}
