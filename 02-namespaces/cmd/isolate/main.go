//go:build linux

// Isolate runs a program in namespaces of its own, or in those of a process
// that runs.
//
//	isolate [--explain] [--hostname NAME] [--user] [--time OFFSET] [--init] [--seccomp FILE] ROOT PROGRAM [ARG...]
//	isolate [--explain] --join PID PROGRAM [ARG...]
//	isolate ls [PID]
//
// An ordinary user gets a new user namespace, in which he is root.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	namespaces "drydock.example/02-namespaces"

	"drydock.example/01-chroot/explain"
)

const usage = `usage: isolate [--explain] [--hostname NAME] [--user] [--time OFFSET] [--init] [--seccomp FILE] ROOT PROGRAM [ARG...]
       isolate [--explain] --join PID PROGRAM [ARG...]
       isolate ls [PID]
`

type options struct {
	explain  bool
	hostname string
	user     bool
	time     time.Duration
	seccomp  string
	init     bool
	join     int
}

var errUsage = errors.New("usage")

func main() {
	var o options
	flags := flag.NewFlagSet("isolate", flag.ContinueOnError)
	flags.BoolVar(&o.explain, "explain", false, "narrate each kernel operation")
	flags.StringVar(&o.hostname, "hostname", "isolated", "the container's host `name`")
	flags.BoolVar(&o.user, "user", os.Geteuid() != 0, "a new user namespace, in which you are root")
	flags.DurationVar(&o.time, "time", 0, "a new time namespace, whose clocks since boot are ahead by `offset`, like 24h")
	flags.StringVar(&o.seccomp, "seccomp", "", "a `file` with a system call filter, as in linux.seccomp of an OCI config")
	flags.BoolVar(&o.init, "init", false, "a process 1 that waits for orphans and passes signals on, before the program")
	flags.IntVar(&o.join, "join", 0, "the process `id` whose namespaces the program enters")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(os.Args[1:]); err != nil {
		os.Exit(2)
	}
	flags.Visit(func(f *flag.Flag) {
		if o.join != 0 && f.Name != "join" && f.Name != "explain" {
			fmt.Fprintf(os.Stderr, "isolate: --%s makes a container, and --join enters one that is there: give one of them\n", f.Name)
			os.Exit(2)
		}
	})
	ctx := context.Background()
	if o.explain {
		ctx = explain.With(ctx, explain.Text(os.Stderr))
	}
	var status int
	var err error
	switch args := flags.Args(); {
	case len(args) > 0 && args[0] == "ls" && o.join == 0:
		err = list(os.Stdout, args[1:])
	case o.join != 0 && len(args) > 0:
		status, err = join(ctx, o, args)
	case o.join == 0 && len(args) > 1:
		status, err = run(ctx, o, args[0], args[1:])
	default:
		err = errUsage
	}
	switch {
	case errors.Is(err, errUsage):
		flags.Usage()
		status = 2
	case err != nil:
		fmt.Fprintln(os.Stderr, "isolate:", err)
		if status == 0 {
			status = 1
		}
	}
	os.Exit(status)
}

// run returns the status for the shell: the program's own, 128 and the signal
// that killed it, 126 and 127 as shells use them, or 125 for our own failure.
func run(ctx context.Context, o options, root string, args []string) (int, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return 125, err
	}
	spec := namespaces.NewSpec(root, args...)
	spec.Hostname = o.hostname
	if o.time != 0 {
		offset := specs.LinuxTimeOffset{Secs: int64(o.time / time.Second), Nanosecs: uint32(o.time % time.Second)}
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": offset, "monotonic": offset}
	}
	if o.user {
		if err := namespaces.OwnUserNamespace(spec); err != nil {
			return 125, err
		}
	}
	if o.seccomp != "" {
		b, err := os.ReadFile(o.seccomp)
		if err != nil {
			return 125, err
		}
		if err := json.Unmarshal(b, &spec.Linux.Seccomp); err != nil {
			return 125, fmt.Errorf("--seccomp %s: %w", o.seccomp, err)
		}
	}
	p, err := namespaces.Create(ctx, spec, namespaces.Options{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Reaper: o.init, Bound: true})
	if err != nil {
		return namespaces.ExitStatus(err), err
	}
	// The gap: the process exists, isolated, and waits. The next chapters use it.
	return p.Foreground(ctx)
}
