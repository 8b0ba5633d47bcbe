//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"

	images "drydock.example/06-images"
)

var remove = command{
	usage: "rm [-f] NAME|ID...",
	about: "take a name away, and the image with its last one",
	run: func(ctx context.Context, store *images.Store, args []string) (int, error) {
		flags := flag.NewFlagSet("rm", flag.ContinueOnError)
		force := flags.Bool("f", false, "")
		if flags.Parse(args) != nil || flags.NArg() == 0 {
			return 2, errUsage
		}
		for _, name := range flags.Args() {
			untagged, deleted, err := store.Remove(ctx, name, *force)
			for _, name := range untagged {
				if ref, err := images.ParseReference(name); err == nil {
					name = images.Familiar(ref)
				}
				fmt.Println("Untagged:", name)
			}
			for _, d := range deleted {
				fmt.Println("Deleted:", d)
			}
			if err != nil {
				return 1, err
			}
		}
		return 0, nil
	},
}
