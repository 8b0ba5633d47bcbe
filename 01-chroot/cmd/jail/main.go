//go:build linux

// Jail runs a program with another root directory.
//
//	jail [--explain] [--pivot] [--drop] [--with PROGRAM]... [--names] [--file FILE]... ROOT [PROGRAM [ARG...]]
//
// It copies each --with PROGRAM and the shared libraries that it needs from the
// host into ROOT, and then becomes PROGRAM, whose / is ROOT. Its exit status is
// the program's; 125 when there is no jail, 126 when the program cannot be
// started and 127 when it is not there.
//
// An ordinary user is root in a user namespace of his own, where the host allows
// that: see rootless.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	chroot "drydock.example/01-chroot"
	"drydock.example/01-chroot/explain"
)

const usage = `Usage: jail [--explain] [--pivot] [--drop] [--with PROGRAM]... [--names] [--file FILE]... ROOT [PROGRAM [ARG...]]
Run PROGRAM with the directory ROOT as its /.

`

type options struct {
	// What is copied into ROOT.
	with, files []string
	names       bool
	// How ROOT is entered.
	pivot, drop bool
}

func (o options) builds() bool { return len(o.with) > 0 || len(o.files) > 0 }

func main() {
	flags := flag.NewFlagSet("jail", flag.ContinueOnError)
	var o options
	narrate := flags.Bool("explain", false, "show each kernel operation and its reason")
	flags.BoolVar(&o.pivot, "pivot", false, "use pivot_root in place of chroot: there is nothing to walk out to")
	flags.BoolVar(&o.drop, "drop", false, "drop all capabilities: root in the jail has no more rights than others")
	flags.Func("with", "copy `PROGRAM` and what it needs from the host into ROOT (again and again)",
		func(p string) error { o.with = append(o.with, p); return nil })
	flags.BoolVar(&o.names, "names", false, "copy also what these programs open to look up users and hosts by name")
	flags.Func("file", "copy `FILE` from the host into ROOT (again and again)",
		func(p string) error { o.files = append(o.files, p); return nil })
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	err := flags.Parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(125)
	}
	if flags.NArg() == 0 || flags.NArg() == 1 && !o.builds() {
		flags.Usage()
		os.Exit(125)
	}
	if o.names && len(o.with) == 0 {
		fail(errors.New("--names is about the programs of --with: name one"))
	}
	if os.Geteuid() != 0 {
		status, err := inUserNamespace()
		if err != nil {
			fail(err)
		}
		os.Exit(status)
	}
	ctx := context.Background()
	if *narrate {
		ctx = explain.With(ctx, explain.Text(os.Stderr))
	}
	if err := run(ctx, o, flags.Arg(0), flags.Args()[1:]); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "jail:", err)
	os.Exit(exitStatus(err))
}

// errNoStart marks errors that come after the jail is made.
var errNoStart = errors.New("the program does not start")

// run makes the jail and becomes the program. Without a program it returns
// when the jail is made.
func run(ctx context.Context, o options, root string, argv []string) error {
	if err := build(ctx, o, root); err != nil {
		return err
	}
	if len(argv) == 0 {
		return nil
	}
	// Mounts and capabilities belong to a thread, and the program must be
	// executed from the same.
	runtime.LockOSThread()
	enter := chroot.Enter
	if o.pivot {
		enter = chroot.Pivot
	}
	if err := enter(ctx, root); err != nil {
		return err
	}
	if o.drop {
		if err := chroot.DropCapabilities(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %w", errNoStart, chroot.Exec(ctx, argv))
}

// build copies into the root what the options ask for.
func build(ctx context.Context, o options, root string) error {
	if !o.builds() {
		return nil
	}
	if err := chroot.Build(ctx, root, o.with...); err != nil {
		return err
	}
	var files []chroot.File
	for _, f := range o.files {
		path, err := filepath.Abs(f)
		if err != nil {
			return err
		}
		files = append(files, chroot.File{Path: path, Why: "asked for by --file"})
	}
	if o.names {
		for _, p := range o.with {
			more, err := chroot.NameService(p)
			if err != nil {
				return err
			}
			files = append(files, more...)
		}
	}
	return chroot.Copy(ctx, root, files...)
}

// exitStatus follows the convention of shells and of docker run.
func exitStatus(err error) int {
	switch {
	case !errors.Is(err, errNoStart):
		return 125
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist):
		return 127
	default:
		return 126
	}
}
