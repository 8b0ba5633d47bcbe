//go:build linux

// Limit runs a program in namespaces of its own and in a cgroup with limits.
//
//	limit [--explain] [--stats] [-m 64m] [--cpus 0.5] [--pids 64] [--name NAME] [--root DIR] PROGRAM [ARG...]
//	limit stat NAME
//
// The second form shows what the kernel has counted for a container that the
// first form runs; a program that is called stat needs its full path.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"drydock.example/01-chroot/explain"
	namespaces "drydock.example/02-namespaces"
	cgroups "drydock.example/03-cgroups"
	"github.com/docker/go-units"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const usage = `usage: limit [--explain] [--stats] [-m SIZE] [--cpus N] [--pids N] [--name NAME] [--root DIR] PROGRAM [ARG...]
       limit stat NAME`

func main() {
	namespaces.Init()
	var o options
	flags := flag.NewFlagSet("limit", flag.ContinueOnError)
	narrate := flags.Bool("explain", false, "narrate each kernel operation")
	flags.BoolVar(&o.stats, "stats", false, "print what the kernel counted, at the end")
	flags.StringVar(&o.memory, "m", "", "memory, as in 64m; swap is not added to it")
	flags.StringVar(&o.cpus, "cpus", "", "CPU time per time, as in 0.5")
	flags.Int64Var(&o.pids, "pids", -1, "how many processes and threads")
	flags.StringVar(&o.name, "name", "limit-"+strconv.Itoa(os.Getpid()), "of the cgroup, below /drydock")
	flags.StringVar(&o.root, "root", "/", "the container's root directory")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(os.Args[1:]); err != nil {
		os.Exit(2)
	}
	ctx := context.Background()
	if *narrate {
		ctx = explain.With(ctx, explain.Text(os.Stderr))
	}
	var status int
	var err error
	switch {
	case flags.NArg() == 0:
		flags.Usage()
		os.Exit(2)
	case os.Geteuid() != 0:
		status, err = 125, errors.New("cgroups and new namespaces take root: run it with sudo")
	case flags.Arg(0) == "stat":
		status, err = stat(flags.Args()[1:])
	default:
		status, err = run(ctx, o, flags.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "limit:", err)
	}
	os.Exit(status)
}

type options struct {
	memory, cpus, name, root string
	pids                     int64
	stats                    bool
}

// resources turns the flags into the specification's terms.
func (o options) resources() (*specs.LinuxResources, error) {
	r := &specs.LinuxResources{}
	if strings.Contains(o.name, "/") {
		return nil, fmt.Errorf("--name %s: a name has no slash", o.name)
	}
	if o.memory != "" {
		n, err := units.RAMInBytes(o.memory)
		if err != nil {
			return nil, fmt.Errorf("-m %s: give a size such as 64m or 1g", o.memory)
		}
		// Memory and swap together: with the same number there is no swap.
		r.Memory = &specs.LinuxMemory{Limit: &n, Swap: &n}
	}
	if o.cpus != "" {
		const period = 100000 // µs
		cpus, err := strconv.ParseFloat(o.cpus, 64)
		if err != nil || !(cpus > 0 && cpus < 1<<20) {
			return nil, fmt.Errorf("--cpus %s: give a number of CPUs such as 0.5", o.cpus)
		}
		quota := int64(cpus * period)
		r.CPU = &specs.LinuxCPU{Quota: &quota}
	}
	if o.pids != -1 {
		r.Pids = &specs.LinuxPids{Limit: &o.pids}
	}
	return r, nil
}

// run returns the status for the shell: the program's own, 128 and the signal
// that killed it, 126 and 127 as shells use them, or 125 for our own failure.
func run(ctx context.Context, o options, args []string) (status int, err error) {
	r, err := o.resources()
	if err != nil {
		return 125, err
	}
	root, err := filepath.Abs(o.root)
	if err != nil {
		return 125, err
	}
	cgroup, err := cgroups.Create(ctx, "/drydock/"+o.name, r)
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
	p, err := namespaces.Create(ctx, spec, namespaces.Options{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Bound: true,
		Spawn: cgroup.Spawn,
	})
	if err != nil {
		return namespaces.ExitStatus(err), err
	}
	if status, err = p.Foreground(ctx); err != nil {
		return status, err
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
