//go:build linux

package main

import (
	"context"
	"flag"

	images "drydock.example/06-images"
	"github.com/distribution/reference"
)

var copyImage = command{
	usage: "copy [--platform OS/ARCH] [--referrers] [--insecure] FROM TO",
	about: "bring an image, with all its platforms, from one registry to another",
	alone: true,
	run: func(ctx context.Context, _ *images.Store, args []string) (int, error) {
		flags := flag.NewFlagSet("copy", flag.ContinueOnError)
		platform := flags.String("platform", "", "")
		referrers := flags.Bool("referrers", false, "")
		insecure := flags.Bool("insecure", false, "")
		if flags.Parse(args) != nil || flags.NArg() != 2 {
			return 2, errUsage
		}
		opt := images.CopyOptions{Insecure: *insecure, Referrers: *referrers}
		if *platform != "" {
			p, err := images.ParsePlatform(*platform)
			if err != nil {
				return 1, err
			}
			opt.Platform = &p
		}
		var err error
		if opt.Registries, err = images.ReadRegistries(config); err != nil {
			return 1, err
		}
		for i, of := range []*images.Credentials{&opt.From, &opt.To} {
			ref, err := images.ParseReference(flags.Arg(i))
			if err != nil {
				return 1, err
			}
			if *of, err = images.DockerCredentials(ctx, reference.Domain(ref)); err != nil {
				return 1, err
			}
		}
		progress, end := terminalProgress()
		opt.Progress = progress
		_, err = images.Copy(ctx, flags.Arg(0), flags.Arg(1), opt)
		end()
		if err != nil {
			return 1, err
		}
		return 0, nil
	},
}
