//go:build linux

package main

import (
	"context"

	images "drydock.example/06-images"
)

var tag = command{
	usage: "tag NAME|ID NEWNAME",
	about: "give an image a further name",
	run: func(_ context.Context, store *images.Store, args []string) (int, error) {
		if len(args) != 2 {
			return 2, errUsage
		}
		if err := store.Tag(args[0], args[1]); err != nil {
			return 1, err
		}
		return 0, nil
	},
}
