//go:build linux

package main

import (
	"context"
	"os"
)

func start(ctx context.Context, g *global, args []string) error {
	rest, err := parse(options("start"), args, "<container-id>", 1, 1)
	if err != nil {
		return err
	}
	return g.Start(ctx, rest[0], os.Getenv("NOTIFY_SOCKET"))
}
