//go:build linux

package main

import "context"

func remove(ctx context.Context, g *global, args []string) error {
	fs := options("delete")
	var force bool
	fs.BoolVar(&force, "force", false, "end the container first if it runs, by SIGKILL")
	fs.BoolVar(&force, "f", false, "end the container first if it runs, by SIGKILL")
	rest, err := parse(fs, args, "<container-id>", 1, 1)
	if err != nil {
		return err
	}
	return g.Delete(ctx, rest[0], force)
}
