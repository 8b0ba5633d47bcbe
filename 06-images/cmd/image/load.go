//go:build linux

package main

import (
	"context"
	"fmt"
	"os"

	images "drydock.example/06-images"
)

var load = command{
	usage: "load FILE",
	about: "bring the images of an archive here",
	run: func(ctx context.Context, store *images.Store, args []string) (int, error) {
		if len(args) != 1 {
			return 2, errUsage
		}
		f, err := os.Open(args[0])
		if err != nil {
			return 1, err
		}
		defer f.Close()
		loaded, err := store.Load(ctx, f, nil)
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
