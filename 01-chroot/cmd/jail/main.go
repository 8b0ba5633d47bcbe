//go:build linux

// Jail runs a program with another root directory.
//
//	jail [--explain] [--pivot] [--with PROGRAM]... ROOT [PROGRAM [ARG...]]
//
// It copies each --with PROGRAM and the shared libraries that it needs from the
// host into ROOT, and then becomes PROGRAM, whose / is ROOT. Its exit status is
// the program's; 125 when there is no jail, 126 when the program cannot be
// started and 127 when it is not there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"

	chroot "drydock.example/01-chroot"
	"drydock.example/01-chroot/explain"
)

const usage = `Usage: jail [--explain] [--pivot] [--with PROGRAM]... ROOT [PROGRAM [ARG...]]
Run PROGRAM with the directory ROOT as its /.

`

func main() {
	flags := flag.NewFlagSet("jail", flag.ExitOnError)
	narrate := flags.Bool("explain", false, "show each kernel operation and its reason")
	pivot := flags.Bool("pivot", false, "use pivot_root in place of chroot: no breakout")
	var with []string
	flags.Func("with", "copy `PROGRAM` and what it needs from the host into ROOT (again and again)",
		func(p string) error { with = append(with, p); return nil })
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	_ = flags.Parse(os.Args[1:]) // ends the process on an error
	if flags.NArg() == 0 || flags.NArg() == 1 && len(with) == 0 {
		flags.Usage()
		os.Exit(125)
	}
	ctx := context.Background()
	if *narrate {
		ctx = explain.With(ctx, explain.Text(os.Stderr))
	}
	err := run(ctx, flags.Arg(0), with, *pivot, flags.Args()[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "jail:", err)
		os.Exit(exitStatus(err))
	}
}

// errNoStart marks errors that come after the jail is made.
var errNoStart = errors.New("the program does not start")

// run makes the jail and becomes the program. Without a program it returns
// when the jail is made.
func run(ctx context.Context, root string, with []string, pivot bool, argv []string) error {
	if len(with) > 0 {
		if err := chroot.Build(ctx, root, with...); err != nil {
			return err
		}
	}
	if len(argv) == 0 {
		return nil
	}
	enter := chroot.Enter
	if pivot {
		// What the next call changes belongs to a thread, and the program must
		// be executed from the same.
		runtime.LockOSThread()
		enter = chroot.Pivot
	}
	if err := enter(ctx, root); err != nil {
		return err
	}
	return fmt.Errorf("%w: %w", errNoStart, chroot.Exec(ctx, argv))
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
