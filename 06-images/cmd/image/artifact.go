//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	images "drydock.example/06-images"
	"github.com/distribution/reference"
)

// connect connects to the repository of a name, and says what the name is there: a
// tag or a digest.
func connect(ctx context.Context, name string, insecure, push bool) (repo *images.Repository, id string, err error) {
	ref, err := images.ParseReference(name)
	if err != nil {
		return nil, "", err
	}
	opt := images.ConnectOptions{Insecure: insecure, Push: push}
	if opt.Registries, err = images.ReadRegistries(config); err != nil {
		return nil, "", err
	}
	if opt.Credentials, err = images.DockerCredentials(ctx, reference.Domain(ref)); err != nil {
		return nil, "", err
	}
	repo, err = images.Connect(ctx, ref, opt)
	switch r := ref.(type) {
	case reference.Canonical:
		return repo, r.Digest().String(), err
	case reference.NamedTagged:
		return repo, r.Tag(), err
	}
	return repo, "", err
}

var attach = command{
	usage: "attach [--insecure] TYPE NAME FILE...",
	about: "put files beside an image in its registry: a signature, a list of contents",
	alone: true,
	run: func(ctx context.Context, _ *images.Store, args []string) (int, error) {
		flags := flag.NewFlagSet("attach", flag.ContinueOnError)
		insecure := flags.Bool("insecure", false, "")
		if flags.Parse(args) != nil || flags.NArg() < 3 || !strings.Contains(flags.Arg(0), "/") {
			return 2, errUsage
		}
		repo, id, err := connect(ctx, flags.Arg(1), *insecure, true)
		if err != nil {
			return 1, err
		}
		defer repo.Close()
		subject, err := repo.Descriptor(ctx, id)
		if err != nil {
			return 1, err
		}
		desc, err := repo.PushArtifact(ctx, "", images.Artifact{Type: flags.Arg(0), Subject: &subject, Files: flags.Args()[2:]})
		if err != nil {
			return 1, err
		}
		fmt.Println(desc.Digest)
		return 0, nil
	},
}

var referrers = command{
	usage: "referrers [--insecure] NAME",
	about: "list what is beside an image in its registry",
	alone: true,
	run: func(ctx context.Context, _ *images.Store, args []string) (int, error) {
		flags := flag.NewFlagSet("referrers", flag.ContinueOnError)
		insecure := flags.Bool("insecure", false, "")
		if flags.Parse(args) != nil || flags.NArg() != 1 {
			return 2, errUsage
		}
		repo, id, err := connect(ctx, flags.Arg(0), *insecure, false)
		if err != nil {
			return 1, err
		}
		defer repo.Close()
		subject, err := repo.Descriptor(ctx, id)
		if err != nil {
			return 1, err
		}
		all, err := repo.Referrers(ctx, subject.Digest, "")
		if err != nil {
			return 1, err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
		fmt.Fprintln(w, "DIGEST\tTYPE")
		for _, desc := range all {
			fmt.Fprintf(w, "%s\t%s\n", desc.Digest, desc.ArtifactType)
		}
		return 0, w.Flush()
	},
}

var fetch = command{
	usage: "fetch [--insecure] NAME DIR",
	about: "write the files of an artifact into a directory",
	alone: true,
	run: func(ctx context.Context, _ *images.Store, args []string) (int, error) {
		flags := flag.NewFlagSet("fetch", flag.ContinueOnError)
		insecure := flags.Bool("insecure", false, "")
		if flags.Parse(args) != nil || flags.NArg() != 2 {
			return 2, errUsage
		}
		repo, id, err := connect(ctx, flags.Arg(0), *insecure, false)
		if err != nil {
			return 1, err
		}
		defer repo.Close()
		names, err := repo.FetchArtifact(ctx, id, flags.Arg(1))
		for _, name := range names {
			fmt.Println(name)
		}
		if err != nil {
			return 1, err
		}
		return 0, nil
	},
}

var deleteImage = command{
	usage: "delete [--insecure] NAME",
	about: "take a tag, or a digest with all its tags, away from a registry",
	alone: true,
	run: func(ctx context.Context, _ *images.Store, args []string) (int, error) {
		flags := flag.NewFlagSet("delete", flag.ContinueOnError)
		insecure := flags.Bool("insecure", false, "")
		if flags.Parse(args) != nil || flags.NArg() != 1 {
			return 2, errUsage
		}
		repo, id, err := connect(ctx, flags.Arg(0), *insecure, true)
		if err != nil {
			return 1, err
		}
		defer repo.Close()
		if err := repo.Delete(ctx, id); err != nil {
			return 1, err
		}
		fmt.Println("Deleted:", flags.Arg(0))
		return 0, nil
	},
}
