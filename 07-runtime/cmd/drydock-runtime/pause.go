//go:build linux

package main

import "context"

func pause(ctx context.Context, g *global, args []string) error {
	rest, err := parse(options("pause"), args, "<container-id>", 1, 1)
	if err != nil {
		return err
	}
	return g.Pause(ctx, rest[0])
}

func resume(ctx context.Context, g *global, args []string) error {
	rest, err := parse(options("resume"), args, "<container-id>", 1, 1)
	if err != nil {
		return err
	}
	return g.Resume(ctx, rest[0])
}
