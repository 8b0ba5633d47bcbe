//go:build linux

package namespaces

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

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
	// Spawn, where it is set, is called on the thread that makes the process, and
	// must call start there, once, with a cgroup v2 directory (or nil) in which
	// the process is then born. What else it does to the thread the process
	// inherits, which is how it is born in the hierarchies of cgroup v1 too.
	Spawn func(ctx context.Context, start func(cgroup *os.File) error) error
	// Born is called when the process exists and has not done anything: the
	// place of who can only move it to where others were born.
	Born func(pid int) error
	// Cgroup is a directory of cgroup v2 in which the process is born; with Spawn
	// it has no meaning.
	Cgroup *os.File
	// Tasks are tasks files of cgroup v1, open for writing: the process moves
	// itself there first of all.
	Tasks []*os.File
	// Prestart is called when the namespaces and mounts are made and the root
	// is not yet changed: the place of OCI's createRuntime hooks.
	Prestart func(pid int) error
	// Started is called by [Process.Start] when the program has been executed. Its
	// error ends the program.
	Started func() error
	// State is what the hooks createContainer and startContainer, which run
	// inside, get on their standard input; its pid and status are filled in.
	State *specs.State
	// Seccomp is the system call filter of a process that [Exec] starts: the
	// container's. Create takes the spec's.
	Seccomp *specs.LinuxSeccomp
	// Fifo is the path of a fifo: the process waits until [Start], called by
	// whomever, lets it go on. Empty: it waits for [Process.Start]. At a fifo a
	// process may wait that has no process.args: it holds its namespaces for others
	// to enter, and ends with an error when it is let go on.
	Fifo string
	// Init is the program that becomes the process: it is linked statically, and
	// imports this package. Nil is this program.
	Init *os.File
	// Bound ends the container, by SIGKILL, when the calling process dies.
	Bound bool
	// Reaper has this program stay as the container's first process, with the
	// user's program as its child: it waits for orphans, passes signals on and ends
	// as the program does, with 128 and its number after a signal.
	Reaper bool
	// NoPivot leaves the old root behind by moving the new one over it, where
	// pivot_root(2) cannot: on the kernel's first ramdisk.
	NoPivot bool
	// Keyring is the name of a new session keyring; empty: the caller's is kept.
	Keyring string
}

// A Process is a container's first process.
type Process struct {
	Pid int // as the caller's PID namespace counts
	// Warnings name what the process does without, because this process has no
	// right to give it: a limit above its own, for example.
	Warnings []string
	proc     *os.Process

	conn *os.File // the socket to the process until it has executed its program
	in   decoder
	out  encoder

	listener *explain.Listener // hands over what the process narrates
	started  func() error      // Options.Started
	ended    chan struct{}     // closed by Wait and Release: lets the creating thread go
}

// message is what Create and the process tell each other.
type message struct {
	Setup    *setup   // to the process: all that it needs to know
	Prestart bool     // from the process: run the hooks; back: they have run
	Listener int      // from the process: take this descriptor; back: it has been taken
	Ready    bool     // from the process: I wait to be started
	Warnings []string // with Ready: see Process.Warnings
	Start    bool     // to the process: go on
	Error    string   // from the process: the step that failed, and why
	NotFound bool     // the error is [ErrNotFound]
	NotExec  bool     // the error is [ErrNotExecutable]
}

// setup is what the process must know: the parts of the spec that concern it.
type setup struct {
	Process    *specs.Process
	Root       *specs.Root
	Hostname   string
	Domainname string
	Mounts     []specs.Mount
	Hooks      *specs.Hooks

	Namespaces        []specs.LinuxNamespace
	Devices           []specs.LinuxDevice
	Sysctl            map[string]string
	RootfsPropagation string
	MaskedPaths       []string
	ReadonlyPaths     []string
	Seccomp           *filter
	MountLabel        string
	Personality       *specs.LinuxPersonality
	MemoryPolicy      *specs.LinuxMemoryPolicy
	Reaper            bool
	NoPivot           bool
	Keyring           string

	State    *specs.State
	Prestart bool
	Bound    bool

	// Descriptors of the process; 0 is none.
	Fifo    int
	Console int
	Tasks   []int
	// Trees are the mounts that the creator has opened, by their places in Mounts.
	Trees map[int]int
	trees map[int]*os.File
	// Files is how many descriptors, from 3 on, belong to the program.
	Files int
}

func newSetup(spec *specs.Spec, opt Options) *setup {
	return &setup{
		Process: spec.Process, Root: spec.Root, Hostname: spec.Hostname, Domainname: spec.Domainname, Mounts: spec.Mounts, Hooks: spec.Hooks,
		Namespaces: spec.Linux.Namespaces, Devices: spec.Linux.Devices, Sysctl: spec.Linux.Sysctl,
		RootfsPropagation: spec.Linux.RootfsPropagation, MaskedPaths: spec.Linux.MaskedPaths, ReadonlyPaths: spec.Linux.ReadonlyPaths,
		MountLabel: spec.Linux.MountLabel, Personality: spec.Linux.Personality, MemoryPolicy: spec.Linux.MemoryPolicy,
		Reaper: opt.Reaper, NoPivot: opt.NoPivot, Keyring: opt.Keyring,
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
// spec.Root.Path must be absolute. An error names the step that failed, or is
// the cause of ctx's end; then nothing is left.
func Create(ctx context.Context, spec *specs.Spec, opt Options) (*Process, error) {
	if err := check(spec, opt); err != nil {
		return nil, err
	}
	p, err := newPlan(spec.Linux)
	if err != nil {
		return nil, err
	}
	if err := checkLinux(spec); err != nil {
		return nil, err
	}
	p.first = firstOf(spec.Process.User, p.uids, p.gids)
	s := newSetup(spec, opt)
	s.Seccomp = newFilter(spec.Linux.Seccomp)
	if s.trees, err = openSources(ctx, spec, p); err != nil {
		return nil, err
	}
	defer func() {
		for _, tree := range s.trees {
			tree.Close()
		}
	}()
	if p.forks() {
		s.Process = withFileLimit(s.Process, 0)
	}
	return launch(ctx, p, s, opt)
}

// launch starts the process, hands it its setup, and returns when it waits.
func launch(ctx context.Context, p plan, s *setup, opt Options) (_ *Process, err error) {
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
	for i := range 3 {
		if files[i] == nil {
			null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			if err != nil {
				return nil, err
			}
			defer null.Close()
			files[i] = null
		}
	}
	add := func(f *os.File) int {
		if f == nil {
			return 0
		}
		files = append(files, f)
		return len(files) - 1
	}
	// GOMAXPROCS and GOGC: it runs for a millisecond; threads and a garbage collector would only cost.
	env := []string{"GOMAXPROCS=1", "GOGC=off", envSocket + "=" + strconv.Itoa(add(theirs))}
	if narration != nil {
		env = append(env, explain.Env(add(narration)))
	}
	s.Console = add(opt.ConsoleSocket)
	for _, tasks := range opt.Tasks {
		s.Tasks = append(s.Tasks, add(tasks))
	}
	for i, tree := range s.trees {
		if s.Trees == nil {
			s.Trees = map[int]int{}
		}
		s.Trees[i] = add(tree)
	}
	if opt.Fifo != "" {
		// Opened here, because the process will have another root; and without waiting for a writer, who comes later.
		f, err := os.OpenFile(opt.Fifo, unix.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		s.Fifo = add(f)
	}

	c := &Process{conn: ours, in: decoder{bufio.NewReader(ours)}, out: encoder{ours}, listener: listener, started: opt.Started, ended: make(chan struct{})}
	c.proc, err = spawn(ctx, p, files, env, opt, c.ended)
	if err != nil {
		return nil, err
	}
	c.Pid = c.proc.Pid
	// Closed here and not only by the defer: else the end of the process would not be read as an end.
	theirs.Close()
	stop := context.AfterFunc(ctx, func() { c.Kill() })
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
		if err == nil {
			return
		}
		narration.Close()
		c.Kill()
		state, _ := c.Wait()
		switch {
		case ctx.Err() != nil:
			err = fmt.Errorf("create the process: %w", context.Cause(ctx))
		case err == io.EOF:
			err = fmt.Errorf("the container's process ended before it was ready: %v: a memory limit that its start does not fit in may do that, or a system call filter", state)
		}
	}()
	if opt.Born != nil {
		if err := opt.Born(c.Pid); err != nil {
			return nil, err
		}
	}
	// Now, while the new process starts: so it costs nobody's time.
	if err := s.Seccomp.compile(); err != nil {
		return nil, err
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
		case m.Listener != 0:
			if err := s.Seccomp.sendListener(ctx, c.Pid, m.Listener, s.State); err != nil {
				return nil, err
			}
			if err := c.out.Encode(message{Listener: m.Listener}); err != nil {
				return nil, fmt.Errorf("tell the new process to go on: %w", err)
			}
		case m.Ready:
			listener.Sync()
			c.Warnings = m.Warnings
			return c, nil
		}
	}
}

// check refuses what would otherwise fail far from its cause.
func check(spec *specs.Spec, opt Options) error {
	if p := spec.Process; p == nil || len(p.Args) > 0 || opt.Fifo == "" {
		if err := checkProcess(p); err != nil {
			return err
		}
	}
	switch {
	case spec.Root == nil || !strings.HasPrefix(spec.Root.Path, "/"):
		return errors.New("root.path is not absolute: name the directory of the root file system from / on")
	case spec.Linux == nil:
		return errors.New("linux is missing: a container of this kernel needs that section")
	case (spec.Hostname != "" || spec.Domainname != "") && !has(spec.Linux.Namespaces, specs.UTSNamespace):
		return fmt.Errorf("hostname %q without a uts namespace would rename the host: add one to linux.namespaces", spec.Hostname+spec.Domainname)
	}
	return nil
}

func checkProcess(p *specs.Process) error {
	switch {
	case p == nil || len(p.Args) == 0 || p.Args[0] == "":
		return errors.New("process.args is empty: name the program to run")
	case !strings.HasPrefix(p.Cwd, "/"):
		return fmt.Errorf("process.cwd %q is not absolute: give it from / on, as seen inside", p.Cwd)
	}
	return nil
}
