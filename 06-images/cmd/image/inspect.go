//go:build linux

package main

import (
	"context"
	"encoding/json"
	"os"

	images "drydock.example/06-images"
)

var inspect = command{
	usage: "inspect NAME|ID",
	about: "print what is known of an image, as JSON",
	run: func(_ context.Context, store *images.Store, args []string) (int, error) {
		if len(args) != 1 {
			return 2, errUsage
		}
		img, err := store.Get(args[0])
		if err != nil {
			return 1, err
		}
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return 0, e.Encode(img)
	},
}
