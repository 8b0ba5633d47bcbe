//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	images "drydock.example/06-images"
)

var history = command{
	usage: "history NAME|ID",
	about: "show by which steps an image was made, and their sizes",
	run: func(_ context.Context, store *images.Store, args []string) (int, error) {
		if len(args) != 1 {
			return 2, errUsage
		}
		img, err := store.Get(args[0])
		if err != nil {
			return 1, err
		}
		steps, err := store.History(img)
		if err != nil {
			return 1, err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
		fmt.Fprintln(w, "CREATED\tSIZE\tCREATED BY\tCOMMENT")
		for _, step := range steps {
			created := "-"
			if step.Created != nil {
				created = step.Created.Format(time.DateTime)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", created, images.FormatSize(step.Size), cmp.Or(step.CreatedBy, "-"), step.Comment)
		}
		return 0, w.Flush()
	},
}
