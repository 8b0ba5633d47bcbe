//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	"drydock.example/07-runtime/oci"
)

func events(ctx context.Context, g *global, args []string) error {
	fs := options("events")
	interval := fs.Duration("interval", 5*time.Second, "time between two statistics")
	once := fs.Bool("stats", false, "show the statistics once")
	rest, err := parse(fs, args, "<container-id>", 1, 1)
	if err != nil {
		return err
	}
	if *interval <= 0 {
		return errors.New("duration interval must be greater than 0")
	}
	out := json.NewEncoder(os.Stdout)
	if *once {
		e, err := g.Stats(rest[0])
		if err != nil {
			return err
		}
		return out.Encode(e)
	}
	return g.Events(ctx, rest[0], *interval, func(e oci.Event) error { return out.Encode(e) })
}
