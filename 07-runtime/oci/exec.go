//go:build linux

package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	namespaces "drydock.example/02-namespaces"
	cgroups "drydock.example/03-cgroups"
)

// ExecOptions are what exec is told beside the process to run.
type ExecOptions struct {
	Detach        bool   // return when the program runs
	ConsoleSocket string // path of the Unix socket that receives the terminal's master
	PidFile       string // receives the process id, in decimal
	PidfdSocket   string // as of CreateOptions
	ListenFDs     int    // as of CreateOptions
	PreserveFDs   int
	Cgroups       []string // below the container's: one "PATH", or on v1 "CONTROLLERS:PATH" any number of times
	IgnorePaused  bool     // in a paused container it waits until that goes on
}

// Exec runs one more program in a container. edit gets a copy of the process
// of the container's config, and changes it to the one to run. Unless it is
// detached its exit status is the result, as of Run.
func (r Runtime) Exec(ctx context.Context, id string, edit func(*specs.Process) error, opt ExecOptions) (status int, err error) {
	var signals *caught
	if !opt.Detach {
		ctx, signals = newCaught(ctx)
	}
	c, err := r.look(id)
	if err != nil {
		return 0, err
	}
	switch status := c.status(); {
	case status == specs.StateStopped || status == specs.StateCreating:
		return 0, ErrExecStopped
	case status == StatePaused && !opt.IgnorePaused:
		return 0, ErrExecPaused
	}
	spec, err := c.config()
	if err != nil {
		return 0, err
	}
	spec.Process = processOf(spec)
	process := spec.Process
	if err := edit(process); err != nil {
		return 0, err
	}
	if err := checkOneProcess(process); err != nil {
		return 0, err
	}
	fd, err := c.open()
	if err != nil {
		return 0, err
	}
	target := os.NewFile(uintptr(fd), "pidfd")
	defer target.Close()

	relay, socket, err := connectTerminal(process.Terminal, opt.Detach, opt.ConsoleSocket)
	defer func() { relay.end() }()
	if err != nil {
		return 0, err
	}
	p, err := c.exec(ctx, target, spec, socket, signals, opt)
	if socket != nil {
		socket.Close()
	}
	if err != nil {
		return 0, err
	}
	r.warn(p.Warnings...)
	if err := c.startExec(ctx, p, process, relay, signals, opt); err != nil {
		p.Kill()
		p.Wait()
		return 0, err
	}
	if opt.Detach {
		return 0, p.Release()
	}
	state, err := p.Wait()
	if err != nil {
		return 0, err
	}
	return exitStatus(state), nil
}

// exec makes the process, which then waits.
func (c *container) exec(ctx context.Context, target *os.File, spec *specs.Spec, console *os.File, signals *caught, opt ExecOptions) (*namespaces.Process, error) {
	files := handedOver(spec.Process, opt.ListenFDs, opt.PreserveFDs)
	o := namespaces.Options{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, ConsoleSocket: console, Files: files,
		Seccomp: spec.Linux.Seccomp, Keyring: "_ses." + c.ID,
		Born: func(int) error { signals.catch(); return nil },
	}
	if c.CgroupMade {
		below, err := wholeCgroup(opt.Cgroups)
		if err != nil {
			return nil, err
		}
		g, err := cgroups.Load(path.Join(c.Cgroup, below))
		if errdefs.IsNotFound(err) && below != "" {
			return nil, fmt.Errorf("--cgroup: adding pid to %s/cgroup.procs: no such file or directory: %w", path.Join(c.Cgroup, below), err)
		}
		if err != nil {
			return nil, err
		}
		defer closeEntrance(&o)
		if err := openEntrance(g, &o); err != nil {
			return nil, err
		}
	}
	if a := spec.Process.ExecCPUAffinity; a != nil && a.Initial != "" {
		// Of all threads: one that is made later, for the process, inherits it from any.
		if err := setAffinity(ctx, "self", a.Initial); err != nil {
			return nil, err
		}
	}
	return namespaces.Exec(ctx, target, spec.Process, o)
}

// startExec does what is left to do, and lets the process go on.
func (c *container) startExec(ctx context.Context, p *namespaces.Process, process *specs.Process, relay *terminal, signals *caught, opt ExecOptions) error {
	for _, part := range opt.Cgroups {
		if controllers, below, ok := strings.Cut(part, ":"); ok {
			if err := c.enter(ctx, p.Pid, strings.Split(controllers, ","), below); err != nil {
				return err
			}
		}
	}
	if a := process.ExecCPUAffinity; a == nil || a.Initial == "" {
		if err := freeAffinity(ctx, p.Pid); err != nil {
			return err
		}
	}
	if a := process.ExecCPUAffinity; a != nil && a.Final != "" {
		if err := setAffinity(ctx, strconv.Itoa(p.Pid), a.Final); err != nil {
			return err
		}
	}
	if relay != nil {
		if err := relay.begin(); err != nil {
			return err
		}
	}
	if opt.PidfdSocket != "" {
		if err := sendPidfd(opt.PidfdSocket, p.Pid); err != nil {
			return err
		}
	}
	if opt.PidFile != "" {
		if err := writePidFile(opt.PidFile, p.Pid); err != nil {
			return err
		}
	}
	signals.pass(p, relay)
	return p.Start(ctx)
}

// wholeCgroup returns the path among the --cgroup options that is for all
// controllers, or "".
func wholeCgroup(cgroups []string) (string, error) {
	for _, below := range cgroups {
		if strings.Contains(below, ":") {
			continue
		}
		if len(cgroups) > 1 {
			return "", fmt.Errorf("invalid --cgroup argument: %s (missing <controller>: prefix): beside others each is for some controllers: %w", below, errdefs.ErrInvalidArgument)
		}
		return below, checkBelow(below)
	}
	return "", nil
}

// checkBelow refuses a path that leads out of the container's cgroup.
func checkBelow(below string) error {
	if !filepath.IsLocal(strings.TrimLeft(below+"/.", "/")) {
		return fmt.Errorf("--cgroup: bad sub cgroup path: %s is not a sub cgroup path: %w", below, errdefs.ErrInvalidArgument)
	}
	return nil
}

// enter moves a process into a child of the container's cgroup, for some
// controllers of v1.
func (c *container) enter(ctx context.Context, pid int, controllers []string, below string) error {
	g, err := c.cgroup()
	if err != nil {
		return err
	}
	if err := checkBelow(below); err != nil {
		return err
	}
	paths := g.Paths()
	for _, controller := range controllers {
		dir, ok := paths[controller]
		if !ok {
			return fmt.Errorf("--cgroup: unknown controller %s in v1: %w", controller, errdefs.ErrInvalidArgument)
		}
		file := filepath.Join(dir, below, "cgroup.procs")
		chapter.Call(ctx, "a part of the container, for one controller", "write(%q, \"%d\")", file, pid)
		if err := os.WriteFile(file, []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("--cgroup %s:%s: adding pid %d to %s: %w", controller, below, pid, file, errors.Unwrap(err))
		}
	}
	return nil
}

// freeAffinity has a process run on all CPUs that its cgroup has, whichever this
// process, a service bound to some for example, is bound to. As an ordinary user
// it may not for a process that is somebody else's by now: that one keeps what
// it has.
func freeAffinity(ctx context.Context, pid int) error {
	var all unix.CPUSet
	all.Fill()
	chapter.Call(ctx, "which CPUs it may use is its cgroup's matter, not the caller's", "sched_setaffinity(%d, all)", pid)
	if err := unix.SchedSetaffinity(pid, &all); err != nil && err != unix.EPERM {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	return nil
}

// setAffinity has all threads of a process run on some CPUs only.
func setAffinity(ctx context.Context, pid, list string) error {
	set, err := parseCPUs(list)
	if err != nil {
		return fmt.Errorf("process.execCPUAffinity: %w", err)
	}
	tasks, err := os.ReadDir("/proc/" + pid + "/task")
	if err != nil {
		return err
	}
	chapter.Call(ctx, "the CPUs that it may use", "sched_setaffinity(%s, %q)", pid, list)
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, set); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("process.execCPUAffinity %q: %w", list, os.NewSyscallError("sched_setaffinity", err))
		}
	}
	return nil
}

// parseCPUs reads "0-2,4" (cpuset(7), list format).
func parseCPUs(list string) (*unix.CPUSet, error) {
	set := &unix.CPUSet{}
	for part := range strings.SplitSeq(list, ",") {
		from, to, ranged := strings.Cut(strings.TrimSpace(part), "-")
		first, err := strconv.ParseUint(from, 10, 16)
		last := first
		if err == nil && ranged {
			last, err = strconv.ParseUint(to, 10, 16)
		}
		if err != nil || last < first {
			return nil, wrong("CPUs", list, "numbers and ranges like 0-2,4")
		}
		for n := first; n <= last; n++ {
			set.Set(int(n))
		}
	}
	return set, nil
}
