//go:build linux

package namespaces

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/explain"
)

// Options are what Create needs and a spec does not say. The zero value gives a
// process with /dev/null as its three streams, started by [Process.Start].
type Options struct {
	// Stdin, Stdout and Stderr are handed to the program; nil is /dev/null.
	Stdin, Stdout, Stderr *os.File
	// Files become the program's descriptors from 3 on.
	Files []*os.File
	// ConsoleSocket is a Unix socket that receives the master of the new
	// terminal (SCM_RIGHTS) where spec.Process.Terminal is set.
	ConsoleSocket *os.File
	// Cgroup is a cgroup v2 directory in which the process is born.
	Cgroup *os.File
	// Spawn, where it is set, is called on the thread that makes the process, and
	// must call start there, once, with a cgroup v2 directory (or nil) in which
	// the process is then born. What else it does to the thread the process
	// inherits, which is how it is born in the hierarchies of cgroup v1 too.
	Spawn func(ctx context.Context, start func(cgroup *os.File) error) error
	// Enter is called with the new process's id when it exists and has done
	// nothing yet. Its error ends the process.
	Enter func(pid int) error
	// Prestart is called when the namespaces and mounts are made and the root
	// is not yet changed: the place of OCI's createRuntime hooks.
	Prestart func(pid int) error
	// State is what the hooks createContainer and startContainer, which run
	// inside, get on their standard input; its pid and status are filled in.
	State *specs.State
	// Fifo is the path of a fifo: the process waits until [Start], called by
	// whomever, lets it go on. Empty: it waits for [Process.Start].
	Fifo string
	// Bound ends the container, by SIGKILL, when the calling process dies.
	Bound bool
}

// A Process is a container's first process.
type Process struct {
	Pid  int // as the caller's PID namespace counts
	proc *os.Process

	conn *os.File // the socket to the process until it has executed its program
	in   *json.Decoder
	out  *json.Encoder

	listener *explain.Listener // hands over what the process narrates
	ended    chan struct{}     // closed by Wait and Release: lets the creating thread go
}

// message is what Create and the process tell each other, one JSON value each.
type message struct {
	Setup    *setup `json:",omitempty"` // to the process: all that it needs to know
	Prestart bool   `json:",omitempty"` // from the process: run the hooks; back: they have run
	Ready    bool   `json:",omitempty"` // from the process: I wait to be started
	Start    bool   `json:",omitempty"` // to the process: go on
	Error    string `json:",omitempty"` // from the process: the step that failed, and why
	NotFound bool   `json:",omitempty"` // the error is [ErrNotFound]
	NotExec  bool   `json:",omitempty"` // the error is [ErrNotExecutable]
}

// setup is what the process must know. It holds parts of the spec and not the
// whole: encoding/json looks at every type that it could meet before it reads
// the first byte, and for specs.Spec, with its five operating systems, that
// alone takes a millisecond, as long as all the mounts together.
type setup struct {
	Process    *specs.Process
	Root       *specs.Root
	Hostname   string
	Domainname string
	Mounts     []specs.Mount
	Hooks      *specs.Hooks `json:",omitempty"`

	Namespaces        []specs.LinuxNamespace
	Devices           []specs.LinuxDevice
	Sysctl            map[string]string
	RootfsPropagation string
	MaskedPaths       []string
	ReadonlyPaths     []string

	State    *specs.State
	Prestart bool
	Bound    bool

	// Descriptors of the process; 0 is none.
	Fifo    int
	Console int
	// Files is how many descriptors, from 3 on, belong to the program.
	Files int
}

func newSetup(spec *specs.Spec, opt Options) *setup {
	return &setup{
		Process: spec.Process, Root: spec.Root, Hostname: spec.Hostname, Domainname: spec.Domainname, Mounts: spec.Mounts, Hooks: spec.Hooks,
		Namespaces: spec.Linux.Namespaces, Devices: spec.Linux.Devices, Sysctl: spec.Linux.Sysctl,
		RootfsPropagation: spec.Linux.RootfsPropagation, MaskedPaths: spec.Linux.MaskedPaths, ReadonlyPaths: spec.Linux.ReadonlyPaths,
		State: opt.State, Prestart: opt.Prestart != nil, Bound: opt.Bound, Files: len(opt.Files),
	}
}

// initName is argv[0] of the process between clone and execve.
const initName = "drydock-init"

// envSocket names the environment variable with the number of the descriptor
// that leads to Create.
const envSocket = "DRYDOCK_INIT_FD"

// Create starts a process in the namespaces that the spec lists and has it
// prepare everything up to, and not including, execve(2) of spec.Process.Args.
// spec.Root.Path must be absolute. An error names the step that failed; then
// nothing is left.
func Create(ctx context.Context, spec *specs.Spec, opt Options) (_ *Process, err error) {
	if err := check(spec); err != nil {
		return nil, err
	}
	p, err := newPlan(spec.Linux.Namespaces)
	if err != nil {
		return nil, err
	}

	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "init socket"), os.NewFile(uintptr(pair[1]), "init socket")
	defer theirs.Close()
	defer func() {
		if err != nil {
			ours.Close()
		}
	}()
	narration, listener, err := explain.Pipe(ctx)
	if err != nil {
		return nil, err
	}
	defer narration.Close()

	// The program's own descriptors come first, so that they have their final
	// numbers from the start; ours follow and are closed by execve.
	files := append([]*os.File{opt.Stdin, opt.Stdout, opt.Stderr}, opt.Files...)
	add := func(f *os.File) int {
		if f == nil {
			return 0
		}
		files = append(files, f)
		return len(files) - 1
	}
	s := newSetup(spec, opt)
	// GOMAXPROCS and GOGC: it runs for a millisecond; threads and a garbage collector would only cost.
	env := []string{"GOMAXPROCS=1", "GOGC=off", envSocket + "=" + strconv.Itoa(add(theirs))}
	if narration != nil {
		env = append(env, explain.Env(add(narration)))
	}
	s.Console = add(opt.ConsoleSocket)
	if opt.Fifo != "" {
		// Opened here, because the process will have another root; and without waiting for a writer, who comes later.
		f, err := os.OpenFile(opt.Fifo, unix.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		s.Fifo = add(f)
	}

	c := &Process{conn: ours, in: json.NewDecoder(ours), out: json.NewEncoder(ours), listener: listener, ended: make(chan struct{})}
	c.proc, err = spawn(ctx, p, spec, files, env, opt, c.ended)
	if err != nil {
		return nil, err
	}
	c.Pid = c.proc.Pid
	// Closed here and not only by the defer: else the end of the process would not be read as an end.
	theirs.Close()
	defer func() {
		if err != nil {
			narration.Close()
			c.Kill()
			c.Wait()
		}
	}()
	if opt.Enter != nil {
		if err := opt.Enter(c.Pid); err != nil {
			return nil, err
		}
	}
	if err := c.out.Encode(message{Setup: s}); err != nil {
		return nil, fmt.Errorf("hand the setup to the new process: %w", err)
	}
	for {
		m, err := c.read()
		if err != nil {
			return nil, err
		}
		switch {
		case m.Prestart:
			listener.Sync()
			if err := opt.Prestart(c.Pid); err != nil {
				return nil, err
			}
			if err := c.out.Encode(message{Prestart: true}); err != nil {
				return nil, fmt.Errorf("tell the new process to go on: %w", err)
			}
		case m.Ready:
			listener.Sync()
			return c, nil
		}
	}
}

// check refuses what would otherwise fail far from its cause.
func check(spec *specs.Spec) error {
	switch {
	case spec.Process == nil || len(spec.Process.Args) == 0 || spec.Process.Args[0] == "":
		return errors.New("process.args is empty: name the program to run")
	case spec.Root == nil || !strings.HasPrefix(spec.Root.Path, "/"):
		return errors.New("root.path is not absolute: name the directory of the root file system from / on")
	case spec.Linux == nil:
		return errors.New("linux is missing: a container of this kernel needs that section")
	case !strings.HasPrefix(spec.Process.Cwd, "/"):
		return fmt.Errorf("process.cwd %q is not absolute: give it from / on, as seen inside", spec.Process.Cwd)
	case (spec.Hostname != "" || spec.Domainname != "") && !has(spec.Linux.Namespaces, specs.UTSNamespace):
		return fmt.Errorf("hostname %q without a uts namespace would rename the host: add one to linux.namespaces", spec.Hostname+spec.Domainname)
	}
	return nil
}

// spawn makes the process, on a thread of its own: see [onOwnThread].
func spawn(ctx context.Context, p plan, spec *specs.Spec, files []*os.File, env []string, opt Options, ended <-chan struct{}) (proc *os.Process, err error) {
	attr := &syscall.SysProcAttr{}
	var names []string
	for _, k := range p.clone {
		attr.Cloneflags |= k.flag
		names = append(names, k.text)
		if k.name == specs.UserNamespace {
			attr.UidMappings, attr.GidMappings = idMap(spec.Linux.UIDMappings), idMap(spec.Linux.GIDMappings)
			attr.GidMappingsEnableSetgroups = os.Geteuid() == 0
			attr.Credential = &syscall.Credential{NoSetGroups: true}
		}
	}
	start := func(cgroup *os.File) (err error) {
		if cgroup != nil {
			attr.UseCgroupFD, attr.CgroupFD = true, int(cgroup.Fd())
			names = append(names, "CLONE_INTO_CGROUP")
		}
		if err := enter(ctx, p, spec); err != nil {
			return err
		}
		chapter.Call(ctx, "one process, born into all of its new namespaces at once", "clone(%s|CLONE_VFORK|SIGCHLD)", strings.Join(names, "|"))
		proc, err = os.StartProcess("/proc/self/exe", []string{initName}, &os.ProcAttr{Env: env, Files: files, Sys: attr})
		if err != nil {
			return fmt.Errorf("clone into new namespaces (%s): %w", strings.Join(names, "|"), err)
		}
		return nil
	}
	err = onOwnThread(ended, func() error {
		if opt.Spawn != nil {
			return opt.Spawn(ctx, start)
		}
		return start(opt.Cgroup)
	})
	if err != nil && proc != nil {
		_ = proc.Kill()
		_, _ = proc.Wait()
	}
	return proc, err
}

// enter moves the calling thread into the namespaces that exist already, and
// makes the ones that only unshare can make; its children are born there.
func enter(ctx context.Context, p plan, spec *specs.Spec) error {
	fds := make([]int, len(p.join))
	for i, j := range p.join {
		fd, err := unix.Open(j.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("join the %s namespace: %w", j.name, &os.PathError{Op: "open", Path: j.path, Err: err})
		}
		defer unix.Close(fd)
		fds[i] = fd
	}
	for i, j := range p.join {
		if j.name == specs.MountNamespace {
			// Threads of one process share their root and working directory; setns wants a thread with its own.
			chapter.Call(ctx, "setns(2) refuses a mount namespace to a thread that shares its root with others", "unshare(CLONE_FS)")
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return os.NewSyscallError("unshare(CLONE_FS)", err)
			}
		}
		chapter.Call(ctx, "the "+string(j.name)+" namespace of "+j.path, "setns(%d, %s)", fds[i], j.text)
		if err := unix.Setns(fds[i], int(j.flag)); err != nil {
			return fmt.Errorf("join the %s namespace: %w", j.name, &os.PathError{Op: "setns", Path: j.path, Err: err})
		}
	}
	for _, k := range p.unshared {
		chapter.Call(ctx, "for its children: a process cannot change its own clock", "unshare(%s)", k.text)
		if err := unix.Unshare(int(k.flag)); err != nil {
			return os.NewSyscallError("unshare("+k.text+")", err)
		}
		if err := setTimeOffsets(ctx, spec.Linux.TimeOffsets); err != nil {
			return err
		}
	}
	return nil
}

// setTimeOffsets sets the clocks of the time namespace that the calling
// thread's children will have (time_namespaces(7)).
func setTimeOffsets(ctx context.Context, offsets map[string]specs.LinuxTimeOffset) error {
	// The thread's own directory: /proc/self is that of the process's first thread, and /proc/thread-self lacks the file.
	file := fmt.Sprintf("/proc/%d/timens_offsets", unix.Gettid())
	for clock, o := range offsets {
		line := fmt.Sprintf("%s %d %d", clock, o.Secs, o.Nanosecs)
		chapter.Call(ctx, "the offset that its clock has to the host's", "write(%q, %q)", file, line)
		if err := os.WriteFile(file, []byte(line), 0); err != nil {
			return fmt.Errorf("write %q to %s: %w", line, file, err)
		}
	}
	return nil
}

func idMap(m []specs.LinuxIDMapping) []syscall.SysProcIDMap {
	out := make([]syscall.SysProcIDMap, len(m))
	for i, e := range m {
		out[i] = syscall.SysProcIDMap{ContainerID: int(e.ContainerID), HostID: int(e.HostID), Size: int(e.Size)}
	}
	return out
}
