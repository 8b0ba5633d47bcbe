//go:build linux

package main

import (
	"archive/tar"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	images "drydock.example/06-images"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var create = command{
	usage: "create [--cmd 'PROGRAM ARG...'] NAME DIR...",
	about: "make an image, each directory a layer",
	run: func(ctx context.Context, store *images.Store, args []string) (int, error) {
		flags := flag.NewFlagSet("create", flag.ContinueOnError)
		cmd := flags.String("cmd", "", "")
		if flags.Parse(args) != nil || flags.NArg() < 2 {
			return 2, errUsage
		}
		config := ocispec.Image{Config: ocispec.ImageConfig{Cmd: strings.Fields(*cmd)}}
		var layers []io.Reader
		for _, dir := range flags.Args()[1:] {
			r, w := io.Pipe()
			// Where Create stops early, the writer must not wait for it.
			defer r.Close()
			go func() { w.CloseWithError(pack(w, dir)) }()
			layers = append(layers, r)
		}
		img, err := store.Create(ctx, flags.Arg(0), config, layers...)
		if err != nil {
			return 1, err
		}
		fmt.Println(img.ID)
		return 0, nil
	},
}

// pack writes the files below dir as a layer's tar. The same files give the
// same bytes.
func pack(w io.Writer, dir string) error {
	t := tar.NewWriter(w)
	if err := t.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	return t.Close()
}
