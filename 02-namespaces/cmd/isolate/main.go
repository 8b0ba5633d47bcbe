//go:build linux

// Isolate runs a program in namespaces of its own.
//
//	isolate [--explain] [--hostname NAME] ROOT PROGRAM [ARG...]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	namespaces "drydock.example/02-namespaces"

	"drydock.example/01-chroot/explain"
)

func main() {
	namespaces.Init()
	flags := flag.NewFlagSet("isolate", flag.ContinueOnError)
	narrate := flags.Bool("explain", false, "narrate each kernel operation")
	hostname := flags.String("hostname", "isolated", "the container's host `name`")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: isolate [--explain] [--hostname NAME] ROOT PROGRAM [ARG...]")
		flags.PrintDefaults()
	}
	if err := flags.Parse(os.Args[1:]); err != nil {
		os.Exit(2)
	}
	if flags.NArg() < 2 {
		flags.Usage()
		os.Exit(2)
	}
	ctx := context.Background()
	if *narrate {
		ctx = explain.With(ctx, explain.Text(os.Stderr))
	}
	status, err := run(ctx, *hostname, flags.Arg(0), flags.Args()[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "isolate:", err)
	}
	os.Exit(status)
}

// run returns the status for the shell: the program's own, 128 and the signal
// that killed it, 126 and 127 as shells use them, or 125 for our own failure.
func run(ctx context.Context, hostname, root string, args []string) (int, error) {
	if os.Geteuid() != 0 {
		return 125, errors.New("new namespaces take root: run it with sudo")
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return 125, err
	}
	spec := namespaces.NewSpec(root, args...)
	spec.Hostname = hostname
	p, err := namespaces.Create(ctx, spec, namespaces.Options{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Bound: true})
	if err != nil {
		return namespaces.ExitStatus(err), err
	}
	// The gap: the process exists, isolated, and waits. The next chapters use it.
	return p.Foreground(ctx)
}
