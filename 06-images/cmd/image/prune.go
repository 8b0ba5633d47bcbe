//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"

	images "drydock.example/06-images"
)

var prune = command{
	usage: "prune [-a]",
	about: "remove the images that have lost their tags, with -a all",
	run: func(ctx context.Context, store *images.Store, args []string) (int, error) {
		flags := flag.NewFlagSet("prune", flag.ContinueOnError)
		all := flags.Bool("a", false, "")
		if flags.Parse(args) != nil || flags.NArg() != 0 {
			return 2, errUsage
		}
		untagged, deleted, freed, err := store.Prune(ctx, func(img images.Image) bool { return *all || images.Dangling(img) })
		for _, name := range untagged {
			fmt.Println("Untagged:", name)
		}
		for _, d := range deleted {
			fmt.Println("Deleted:", d)
		}
		if err != nil {
			return 1, err
		}
		fmt.Println("Total reclaimed space:", images.FormatSize(freed))
		return 0, nil
	},
}
