//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	namespaces "drydock.example/02-namespaces"
	overlayfs "drydock.example/04-overlayfs"
	images "drydock.example/06-images"
)

var run = command{
	usage: "run NAME|ID [PROGRAM ARG...]",
	about: "run a program of an image, with a writable layer that goes when it ends",
	run: func(ctx context.Context, store *images.Store, args []string) (status int, err error) {
		if len(args) == 0 {
			return 2, errUsage
		}
		img, err := store.Get(args[0])
		if err != nil {
			return 125, err
		}
		lower, err := store.Lower(img)
		if err != nil {
			return 125, err
		}
		dir, err := os.MkdirTemp(root, "run-")
		if err != nil {
			return 125, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		rootfs, upper, work := filepath.Join(dir, "rootfs"), filepath.Join(dir, "upper"), filepath.Join(dir, "work")
		for _, d := range []string{rootfs, upper, work} {
			if err := os.Mkdir(d, 0o755); err != nil {
				return 125, err
			}
		}
		// The interrupt that ends the program must not keep us from unmounting.
		ctx = context.WithoutCancel(ctx)
		if err := overlayfs.Mount(ctx, rootfs, lower, upper, work, false); err != nil {
			return 125, err
		}
		defer func() { err = errors.Join(err, overlayfs.Unmount(ctx, rootfs)) }()
		return runIn(ctx, rootfs, img, args[1:])
	},
}

// runIn runs args, or what the image's config says where there are none, and
// returns its status as a shell would.
func runIn(ctx context.Context, rootfs string, img images.Image, args []string) (int, error) {
	c := img.Config.Config
	if len(args) == 0 {
		args = c.Cmd
	}
	if args = slices.Concat(c.Entrypoint, args); len(args) == 0 {
		return 125, errors.New("the image names no program, and neither do you")
	}
	spec := namespaces.NewSpec(rootfs, args...)
	if err := namespaces.OnlyMappedGroups(spec); err != nil {
		return 125, err
	}
	spec.Hostname = img.ID.Encoded()[:12]
	spec.Process.Env = append(spec.Process.Env, c.Env...)
	if c.WorkingDir != "" {
		spec.Process.Cwd = c.WorkingDir
	}
	p, err := namespaces.Create(ctx, spec, namespaces.Options{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Bound: true})
	if err != nil {
		return namespaces.ExitStatus(err), err
	}
	return p.Foreground(ctx)
}
