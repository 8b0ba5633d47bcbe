//go:build linux

package main

import (
	"context"
	"flag"

	images "drydock.example/06-images"
	"github.com/distribution/reference"
)

var push = command{
	usage: "push [--chunk BYTES] [--insecure] NAME",
	about: "send an image to the registry in its name",
	run: func(ctx context.Context, store *images.Store, args []string) (int, error) {
		flags := flag.NewFlagSet("push", flag.ContinueOnError)
		chunk := flags.Int64("chunk", 0, "")
		insecure := flags.Bool("insecure", false, "")
		if flags.Parse(args) != nil || flags.NArg() != 1 || *chunk < 0 {
			return 2, errUsage
		}
		ref, err := images.ParseReference(flags.Arg(0))
		if err != nil {
			return 1, err
		}
		opt := images.PushOptions{Insecure: *insecure, Chunk: *chunk}
		if opt.Registries, err = images.ReadRegistries(config); err != nil {
			return 1, err
		}
		if opt.Credentials, err = images.DockerCredentials(ctx, reference.Domain(ref)); err != nil {
			return 1, err
		}
		progress, end := terminalProgress()
		opt.Progress = progress
		_, err = store.Push(ctx, ref.String(), opt)
		end()
		if err != nil {
			return 1, err
		}
		return 0, nil
	},
}
