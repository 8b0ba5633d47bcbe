//go:build linux

package main

import (
	"context"
	"fmt"

	"drydock.example/07-runtime/oci"
)

func run(ctx context.Context, g *global, args []string) error {
	fs := options("run")
	var opt oci.RunOptions
	createOptions(fs, &opt.CreateOptions)
	fs.BoolVar(&opt.Detach, "detach", false, "return when the program runs")
	fs.BoolVar(&opt.Detach, "d", false, "return when the program runs")
	fs.BoolVar(&opt.Keep, "keep", false, "keep the container when it has stopped")
	fs.Bool("no-subreaper", false, "accepted for runc's sake")
	rest, err := parse(fs, args, "<container-id>", 1, 1)
	if err != nil {
		return err
	}
	if err := fromService(&opt.CreateOptions); err != nil {
		return err
	}
	status, err := g.Run(ctx, rest[0], opt)
	if err != nil {
		return fmt.Errorf("%s run failed: %w", name, err)
	}
	if status != 0 {
		return exitStatus(status)
	}
	return nil
}
