//go:build linux

package main

import (
	"context"
	"flag"
	"os"

	images "drydock.example/06-images"
)

var export = command{
	usage: "export -o FILE NAME|ID",
	about: "write the root file system of an image as a tar",
	run: func(ctx context.Context, store *images.Store, args []string) (int, error) {
		flags := flag.NewFlagSet("export", flag.ContinueOnError)
		output := flags.String("o", "", "")
		if flags.Parse(args) != nil || flags.NArg() != 1 || *output == "" {
			return 2, errUsage
		}
		return toFile(*output, func(f *os.File) error { return store.Export(ctx, flags.Arg(0), f) })
	},
}
