//go:build linux

package main

import (
	"context"
	"encoding/json"
	"os"

	"drydock.example/07-runtime/oci"
)

func features(_ context.Context, _ *global, args []string) error {
	if _, err := parse(options("features"), args, "", 0, 0); err != nil {
		return err
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "    ")
	return e.Encode(oci.Features())
}
