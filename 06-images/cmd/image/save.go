//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"os"

	images "drydock.example/06-images"
)

var save = command{
	usage: "save -o FILE|--layout DIRECTORY NAME...",
	about: "write images as an archive, or add them to an OCI image layout",
	run: func(ctx context.Context, store *images.Store, args []string) (int, error) {
		flags := flag.NewFlagSet("save", flag.ContinueOnError)
		output := flags.String("o", "", "")
		layout := flags.String("layout", "", "")
		if flags.Parse(args) != nil || flags.NArg() == 0 || (*output == "") == (*layout == "") {
			return 2, errUsage
		}
		if *layout != "" {
			if err := store.SaveLayout(ctx, *layout, flags.Args()...); err != nil {
				return 1, err
			}
			return 0, nil
		}
		return toFile(*output, func(f *os.File) error { return store.Save(ctx, f, flags.Args()...) })
	},
}

// toFile lets write fill a file, which is not there when that fails.
func toFile(name string, write func(*os.File) error) (int, error) {
	f, err := os.Create(name)
	if err != nil {
		return 1, err
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return 1, errors.Join(err, os.Remove(name))
	}
	return 0, nil
}
