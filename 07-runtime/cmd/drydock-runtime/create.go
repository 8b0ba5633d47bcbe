//go:build linux

package main

import (
	"context"
	"errors"
	"flag"

	"drydock.example/07-runtime/oci"
)

func create(ctx context.Context, g *global, args []string) error {
	fs := options("create")
	var opt oci.CreateOptions
	noPivot := createOptions(fs, &opt)
	rest, err := parse(fs, args, "<container-id>", 1, 1)
	if err != nil {
		return err
	}
	if *noPivot {
		return errNoPivot
	}
	return g.Create(ctx, rest[0], opt)
}

var errNoPivot = errors.New("--no-pivot: not supported: without pivot_root a container can leave its root directory")

// createOptions are those that create and run share.
func createOptions(fs *flag.FlagSet, opt *oci.CreateOptions) (noPivot *bool) {
	fs.StringVar(&opt.Bundle, "bundle", ".", "the bundle's directory")
	fs.StringVar(&opt.Bundle, "b", ".", "the bundle's directory")
	fs.StringVar(&opt.ConsoleSocket, "console-socket", "", "Unix socket that receives the terminal's master")
	fs.StringVar(&opt.PidFile, "pid-file", "", "file that receives the process id")
	fs.IntVar(&opt.PreserveFDs, "preserve-fds", 0, "how many descriptors, from 3 on, the program gets")
	fs.Bool("no-new-keyring", false, "accepted for runc's sake: no session keyring is made")
	return fs.Bool("no-pivot", false, "not supported")
}
