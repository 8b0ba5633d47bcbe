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

// onRepository is a command on a repository in its registry, which needs no
// image here. named returns the name among the arguments, "" when they do not fit.
func onRepository(verb, arguments, about string, push bool, named func(args []string) string,
	do func(ctx context.Context, repo *images.Repository, id string, args []string) error) command {
	return command{
		usage: verb + " [--insecure] " + arguments, about: about, alone: true,
		run: func(ctx context.Context, _ *images.Store, args []string) (int, error) {
			flags := flag.NewFlagSet(verb, flag.ContinueOnError)
			insecure := flags.Bool("insecure", false, "")
			if flags.Parse(args) != nil || named(flags.Args()) == "" {
				return 2, errUsage
			}
			repo, id, err := connect(ctx, named(flags.Args()), *insecure, push)
			if err != nil {
				return 1, err
			}
			defer repo.Close()
			if err := do(ctx, repo, id, flags.Args()); err != nil {
				return 1, err
			}
			return 0, nil
		},
	}
}

// first returns the name where it is the first of n arguments.
func first(n int) func(args []string) string {
	return func(args []string) string {
		if len(args) != n {
			return ""
		}
		return args[0]
	}
}

var attach = onRepository("attach", "TYPE NAME FILE...", "put files beside an image in its registry: a signature, a list of contents", true,
	func(args []string) string {
		if len(args) < 3 || !strings.Contains(args[0], "/") {
			return ""
		}
		return args[1]
	},
	func(ctx context.Context, repo *images.Repository, id string, args []string) error {
		subject, err := repo.Descriptor(ctx, id)
		if err != nil {
			return err
		}
		desc, err := repo.PushArtifact(ctx, "", images.Artifact{Type: args[0], Subject: &subject, Files: args[2:]})
		if err != nil {
			return err
		}
		fmt.Println(desc.Digest)
		return nil
	})

var referrers = onRepository("referrers", "NAME", "list what is beside an image in its registry", false, first(1),
	func(ctx context.Context, repo *images.Repository, id string, _ []string) error {
		subject, err := repo.Descriptor(ctx, id)
		if err != nil {
			return err
		}
		all, err := repo.Referrers(ctx, subject.Digest, "")
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
		fmt.Fprintln(w, "DIGEST\tTYPE")
		for _, desc := range all {
			fmt.Fprintf(w, "%s\t%s\n", desc.Digest, desc.ArtifactType)
		}
		return w.Flush()
	})

var fetch = onRepository("fetch", "NAME DIR", "write the files of an artifact into a directory", false, first(2),
	func(ctx context.Context, repo *images.Repository, id string, args []string) error {
		names, err := repo.FetchArtifact(ctx, id, args[1])
		for _, name := range names {
			fmt.Println(name)
		}
		return err
	})

var deleteImage = onRepository("delete", "NAME", "take a tag, or a digest with all its tags, away from a registry", true, first(1),
	func(ctx context.Context, repo *images.Repository, id string, args []string) error {
		if err := repo.Delete(ctx, id); err != nil {
			return err
		}
		fmt.Println("Deleted:", args[0])
		return nil
	})
