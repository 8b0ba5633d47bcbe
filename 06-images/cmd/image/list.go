//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"

	images "drydock.example/06-images"
)

var list = command{
	usage: "ls",
	about: "list the images that are here",
	run: func(_ context.Context, store *images.Store, args []string) (int, error) {
		if len(args) != 0 {
			return 2, errUsage
		}
		all, err := store.List()
		if err != nil {
			return 1, err
		}
		var rows []string
		for _, img := range all {
			names := []string{"<none>"}
			if len(img.Tags) > 0 {
				names = img.Tags
			}
			for _, name := range names {
				if ref, err := images.ParseReference(name); err == nil {
					name = images.Familiar(ref)
				}
				rows = append(rows, fmt.Sprintf("%s\t%s\t%d\t%s", name, img.ID.Encoded()[:12], len(img.DiffIDs), images.FormatSize(img.Size)))
			}
		}
		slices.Sort(rows)
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
		fmt.Fprintln(w, "NAME\tID\tLAYERS\tSIZE")
		for _, row := range rows {
			fmt.Fprintln(w, row)
		}
		return 0, w.Flush()
	},
}
