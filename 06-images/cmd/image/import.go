//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	images "drydock.example/06-images"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var importRoot = command{
	usage: "import [--cmd 'PROGRAM ARG...'] FILE NAME",
	about: "make an image of a root file system in a tar",
	run: func(ctx context.Context, store *images.Store, args []string) (int, error) {
		flags := flag.NewFlagSet("import", flag.ContinueOnError)
		cmd := flags.String("cmd", "", "")
		if flags.Parse(args) != nil || flags.NArg() != 2 {
			return 2, errUsage
		}
		f, err := os.Open(flags.Arg(0))
		if err != nil {
			return 1, err
		}
		defer f.Close()
		config := ocispec.Image{Config: ocispec.ImageConfig{Cmd: strings.Fields(*cmd)}}
		img, err := store.Import(ctx, flags.Arg(1), config, f)
		if err != nil {
			return 1, err
		}
		fmt.Println(img.ID)
		return 0, nil
	},
}
