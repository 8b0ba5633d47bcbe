//go:build linux

package main

import (
	"context"
	"flag"
	"os"

	images "drydock.example/06-images"
	"github.com/distribution/reference"
	"golang.org/x/sys/unix"
)

var pull = command{
	usage: "pull [--platform OS/ARCH] [--insecure] NAME",
	about: "bring an image here from its registry",
	run: func(ctx context.Context, store *images.Store, args []string) (int, error) {
		flags := flag.NewFlagSet("pull", flag.ContinueOnError)
		platform := flags.String("platform", "", "")
		insecure := flags.Bool("insecure", false, "")
		if flags.Parse(args) != nil || flags.NArg() != 1 {
			return 2, errUsage
		}
		opt := images.PullOptions{Insecure: *insecure}
		if *platform != "" {
			p, err := images.ParsePlatform(*platform)
			if err != nil {
				return 1, err
			}
			opt.Platform = &p
		}
		ref, err := images.ParseReference(flags.Arg(0))
		if err != nil {
			return 1, err
		}
		if opt.Registries, err = images.ReadRegistries(config); err != nil {
			return 1, err
		}
		if opt.Credentials, err = images.DockerCredentials(ctx, reference.Domain(ref)); err != nil {
			return 1, err
		}
		progress, end := terminalProgress()
		opt.Progress = progress
		_, err = store.Pull(ctx, ref.String(), opt)
		end()
		if err != nil {
			return 1, err
		}
		return 0, nil
	},
}

// terminalProgress shows progress on standard output, in the manner of what it is.
func terminalProgress() (write func(images.Progress), end func()) {
	width := 0
	if size, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ); err == nil {
		width = int(size.Col)
	}
	return images.NewProgressWriter(os.Stdout, width)
}
