//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	images "drydock.example/06-images"
)

var load = command{
	usage: "load [--repository NAME] FILE|DIRECTORY",
	about: "bring the images of an archive or an OCI image layout here",
	run: func(ctx context.Context, store *images.Store, args []string) (int, error) {
		flags := flag.NewFlagSet("load", flag.ContinueOnError)
		repository := flags.String("repository", "", "")
		if flags.Parse(args) != nil || flags.NArg() != 1 {
			return 2, errUsage
		}
		f, err := os.Open(flags.Arg(0))
		if err != nil {
			return 1, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return 1, err
		}
		var loaded []images.Image
		switch {
		case info.IsDir():
			loaded, err = store.LoadLayout(ctx, f.Name(), *repository, nil)
		case *repository != "":
			return 2, errors.New("load --repository is for the tags of a layout, the images of an archive have whole names")
		default:
			loaded, err = store.Load(ctx, f, nil)
		}
		if err != nil {
			return 1, err
		}
		for _, img := range loaded {
			if len(img.Tags) == 0 {
				fmt.Println("Loaded image ID:", img.ID)
			}
			for _, name := range img.Tags {
				if ref, err := images.ParseReference(name); err == nil {
					name = images.Familiar(ref)
				}
				fmt.Println("Loaded image:", name)
			}
		}
		return 0, nil
	},
}
