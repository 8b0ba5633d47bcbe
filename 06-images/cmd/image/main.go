//go:build linux

// Image pulls images from registries and pushes them there, keeps them, runs a
// program of one, and is a registry.
//
//	image [--explain] [--root DIR] [--config DIR] COMMAND [ARG...]
//
// An ordinary user has a store of his own, and is root in a user namespace of
// his own: see rootless.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"drydock.example/01-chroot/explain"
	namespaces "drydock.example/02-namespaces"
	images "drydock.example/06-images"
)

// command is one subcommand. run returns the exit status.
type command struct {
	usage string
	about string
	alone bool // needs no store: an image store may be in use by another process meanwhile
	run   func(ctx context.Context, store *images.Store, args []string) (int, error)
}

// errUsage says that a command's arguments are not those in its usage.
var errUsage = errors.New("usage")

var root, config string

func main() {
	commands := []command{pull, push, copyImage, attach, referrers, fetch, deleteImage, list, tree, inspect, history, tag, remove, prune, create, save, load, importRoot, export, serve, run}
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	narrate := flags.Bool("explain", false, "narrate each kernel operation")
	flags.StringVar(&root, "root", defaultRoot(), "the `directory` of the image store")
	flags.StringVar(&config, "config", "/etc/drydock", "the `directory` of registries.json and certs.d, which say how registries are reached")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: image [--explain] [--root DIR] [--config DIR] COMMAND [ARG...]")
		for _, c := range commands {
			fmt.Fprintf(flags.Output(), "  %-40s %s\n", c.usage, c.about)
		}
		flags.PrintDefaults()
	}
	if err := flags.Parse(os.Args[1:]); err != nil {
		os.Exit(2)
	}
	for _, c := range commands {
		if name, _, _ := strings.Cut(c.usage, " "); name != flags.Arg(0) {
			continue
		}
		status, err := c.start(*narrate, flags.Args()[1:])
		if errors.Is(err, errUsage) {
			status, err = 2, fmt.Errorf("usage: image %s", c.usage)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "image:", err)
		}
		os.Exit(status)
	}
	flags.Usage()
	os.Exit(2)
}

// start opens the store and runs the command. An interrupt ends the command's
// context, so that what it began is undone.
func (c command) start(narrate bool, args []string) (int, error) {
	if root == "" {
		return 1, errNoHome
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if narrate {
		ctx = explain.With(ctx, explain.Text(os.Stderr))
	}
	var err error
	if root, err = filepath.Abs(root); err != nil {
		return 1, err
	}
	if c.alone {
		return c.run(ctx, nil, args)
	}
	if os.Geteuid() != 0 {
		// Layers hold files of other users, and are mounted.
		return namespaces.AsRoot(ctx, append([]string{"--root", root}, os.Args[1:]...)...)
	}
	db, err := images.OpenDB(filepath.Join(root, "images.db"))
	if err != nil {
		return 1, err
	}
	defer db.Close()
	if err := checkIDs(root); err != nil {
		return 1, err
	}
	store, err := images.Open(root, db)
	if err != nil {
		return 1, err
	}
	return c.run(ctx, store, args)
}
