//go:build linux

// Limit runs a program in namespaces of its own and in a cgroup with limits.
//
//	limit [FLAG...] PROGRAM [ARG...]
//	limit stat [NAME...]
//	limit plot [FLAG...] [-o FILE.svg] PROGRAM [ARG...]
//
// The second form shows what the kernel has counted for the containers that the
// first form runs, on a terminal as a live table. The third is the first, and
// draws a picture of the run. A program that is called stat or plot needs its
// full path.
//
// Without root it works where an ordinary user has been handed a part of the
// cgroup v2 tree, as systemd does, and stands in it itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	chroot "drydock.example/01-chroot"
	"drydock.example/01-chroot/explain"
	namespaces "drydock.example/02-namespaces"
	cgroups "drydock.example/03-cgroups"
	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const usage = `usage: limit [--explain] [--stats] [-m SIZE] [--cpus N] [--pids N] [--name NAME] [--root DIR] [--with PROGRAM]... PROGRAM [ARG...]
       limit stat [NAME...]
       limit plot [the flags above] [-o FILE.svg] PROGRAM [ARG...]`

func main() {
	os.Exit(command(os.Args[1:]))
}

// command returns the status for the shell.
func command(args []string) int {
	var o options
	flags := flag.NewFlagSet("limit", flag.ContinueOnError)
	narrate := flags.Bool("explain", false, "narrate each kernel operation")
	flags.BoolVar(&o.stats, "stats", false, "print what the kernel counted, at the end")
	flags.StringVar(&o.memory, "m", "", "memory, as in 64m; swap is not added to it")
	flags.StringVar(&o.cpus, "cpus", "", "CPU time per time, as in 0.5")
	flags.Int64Var(&o.pids, "pids", -1, "how many processes and threads")
	flags.StringVar(&o.name, "name", "limit-"+strconv.Itoa(os.Getpid()), "of the cgroup, below /drydock; without root beside this process's own")
	flags.StringVar(&o.root, "root", "", "the container's root directory (default / without --with, else a new one)")
	flags.Func("with", "copy `PROGRAM` and what it needs from the host into the root (again and again)",
		func(p string) error { o.with = append(o.with, p); return nil })
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), usage)
		flags.PrintDefaults()
	}
	if len(args) > 0 && args[0] == "plot" {
		args = args[1:]
		flags.StringVar(&o.picture, "o", "limit.svg", "the picture's `file`")
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() == 0 {
		flags.Usage()
		return 2
	}
	ctx := context.Background()
	if *narrate {
		ctx = explain.With(ctx, explain.Text(os.Stderr))
	}
	var status int
	var err error
	if flags.Arg(0) == "stat" {
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		status, err = stat(ctx, flags.Args()[1:])
	} else {
		status, err = run(ctx, o, flags.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "limit:", err)
	}
	return status
}

type options struct {
	memory, cpus, name, root, picture string
	with                              []string
	pids                              int64
	stats                             bool
}

// cgroupOf is the cgroup of a name. A relative path begins beside this
// process's own, which is all that an ordinary user has.
func cgroupOf(name string) (string, error) {
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
		return "", fmt.Errorf("name %q: give one part of a path, as in box", name)
	}
	if os.Geteuid() != 0 {
		return name, nil
	}
	return parent + "/" + name, nil
}

// parent is where root's are.
const parent = "/drydock"

const cpuPeriod = 100000 // µs

// resources turns the flags into the specification's terms.
func (o options) resources() (*specs.LinuxResources, error) {
	r := &specs.LinuxResources{}
	if o.memory != "" {
		n, err := units.RAMInBytes(o.memory)
		if err != nil {
			return nil, fmt.Errorf("-m %s: give a size such as 64m or 1g", o.memory)
		}
		// Memory and swap together: with the same number there is no swap.
		r.Memory = &specs.LinuxMemory{Limit: &n, Swap: &n}
	}
	if o.cpus != "" {
		cpus, err := strconv.ParseFloat(o.cpus, 64)
		if err != nil || !(cpus > 0 && cpus < 1<<20) {
			return nil, fmt.Errorf("--cpus %s: give a number of CPUs such as 0.5", o.cpus)
		}
		quota := int64(cpus * cpuPeriod)
		r.CPU = &specs.LinuxCPU{Quota: &quota}
	}
	if o.pids != -1 {
		r.Pids = &specs.LinuxPids{Limit: &o.pids}
	}
	return r, nil
}

// rootfs returns the container's root directory, with the programs that were
// asked for in it, and what removes it when it was made for this run.
func (o options) rootfs(ctx context.Context) (root string, remove func(), err error) {
	remove = func() {}
	switch {
	case o.root == "" && len(o.with) == 0:
		return "/", remove, nil
	case o.root == "":
		if root, err = os.MkdirTemp("", "limit-"); err != nil {
			return "", remove, err
		}
		remove = func() { _ = os.RemoveAll(root) }
	default:
		if root, err = filepath.Abs(o.root); err != nil {
			return "", remove, err
		}
	}
	if len(o.with) > 0 {
		if err = chroot.Build(ctx, root, o.with...); err != nil {
			remove()
		}
	}
	return root, remove, err
}

// run returns the status for the shell: the program's own, 128 and the signal
// that killed it, 126 and 127 as shells use them, or 125 for our own failure.
func run(ctx context.Context, o options, args []string) (status int, err error) {
	r, err := o.resources()
	if err != nil {
		return 125, err
	}
	path, err := cgroupOf(o.name)
	if err != nil {
		return 125, err
	}
	root, remove, err := o.rootfs(ctx)
	if err != nil {
		return 125, err
	}
	defer remove()
	cgroup, err := cgroups.Create(ctx, path, r)
	if errdefs.IsPermissionDenied(err) {
		err = fmt.Errorf("%w: an ordinary user needs a part of the cgroup tree that root has given him (drydock doctor says which you have): run limit as root, or where systemd is: systemd-run --user --scope -p Delegate=yes limit …", err)
	}
	if err != nil {
		return 125, err
	}
	defer func() {
		// Whatever the program left running ends with its first process.
		if e := errors.Join(cgroup.Kill(ctx), cgroup.Delete(ctx)); e != nil && err == nil {
			status, err = 125, e
		}
	}()

	spec := namespaces.NewSpec(root, args...)
	spec.Hostname = o.name
	if os.Geteuid() != 0 {
		if err := namespaces.OwnUserNamespace(spec); err != nil {
			return 125, err
		}
	}
	var picture func() (course, error)
	if o.picture != "" {
		if picture, err = record(ctx, cgroup); err != nil {
			return 125, err
		}
	}
	p, err := namespaces.Create(ctx, spec, namespaces.Options{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Bound: true,
		Spawn:   cgroup.Spawn,
		Started: func() error { return cgroup.Started(ctx, r) },
	})
	if err != nil {
		return namespaces.ExitStatus(err), err
	}
	if status, err = p.Foreground(ctx); err != nil {
		return status, err
	}
	if picture != nil {
		c, err := picture()
		if err == nil {
			err = draw(o.picture, o, args, c)
		}
		if err != nil {
			return 125, err
		}
	}
	if kills, err := cgroup.OOMKills(); err == nil && kills > 0 {
		fmt.Fprintf(os.Stderr, "limit: out of memory: the kernel killed %d\n", kills)
	}
	if o.stats {
		s, err := cgroup.Stats()
		if err != nil {
			return 125, err
		}
		show(os.Stderr, s)
	}
	return status, nil
}
