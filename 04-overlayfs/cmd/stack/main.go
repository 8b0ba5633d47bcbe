//go:build linux

// Stack runs a program, in namespaces, in a root that is made of layers, and
// shows what it has changed.
//
//	stack [--explain] [--read-only] [--upper DIR] [--commit FILE] LAYER... -- PROGRAM [ARG...]
//
// A LAYER is a directory or an uncompressed tar archive; the base comes first.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	namespaces "drydock.example/02-namespaces"
	overlayfs "drydock.example/04-overlayfs"

	"drydock.example/01-chroot/explain"
	"github.com/opencontainers/go-digest"
)

const usage = "usage: stack [--explain] [--read-only] [--upper DIR] [--commit FILE] LAYER... -- PROGRAM [ARG...]"

type options struct {
	readonly      bool
	upper, commit string
	layers, args  []string
}

func main() {
	namespaces.Init()
	var o options
	flags := flag.NewFlagSet("stack", flag.ContinueOnError)
	narrate := flags.Bool("explain", false, "narrate each kernel operation")
	flags.BoolVar(&o.readonly, "read-only", false, "nothing can be written")
	flags.StringVar(&o.upper, "upper", "", "keep what is written in the directory `DIR`")
	flags.StringVar(&o.commit, "commit", "", "write the changes to the archive `FILE`, as a layer")
	flags.Usage = func() { fmt.Fprintln(flags.Output(), usage); flags.PrintDefaults() }
	if err := flags.Parse(os.Args[1:]); err != nil {
		os.Exit(2)
	}
	split := slices.Index(flags.Args(), "--")
	if split < 1 || split == flags.NArg()-1 {
		flags.Usage()
		os.Exit(2)
	}
	o.layers, o.args = flags.Args()[:split], flags.Args()[split+1:]
	ctx := context.Background()
	if *narrate {
		ctx = explain.With(ctx, explain.Text(os.Stderr))
	}
	status, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "stack:", err)
	}
	os.Exit(status)
}

// run returns the status for the shell, as chapter 2's isolate does.
func run(ctx context.Context, o options) (status int, err error) {
	dir, err := os.MkdirTemp("", "stack-")
	if err != nil {
		return 125, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var mountOptions []string
	if o.upper == "" {
		o.upper = filepath.Join(dir, "upper")
		mountOptions = append(mountOptions, "volatile")
	}
	// On the file system of upper, as overlay demands.
	work, merged := o.upper+".work", filepath.Join(dir, "merged")
	for _, d := range []string{o.upper, work, merged} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return 125, err
		}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := overlayfs.Supported(filepath.Dir(o.upper)); err != nil {
		return 125, err
	}
	lower, err := directories(ctx, filepath.Join(dir, "layers"), o.layers)
	if err != nil {
		return 125, err
	}
	if err := overlayfs.Mount(ctx, merged, lower, o.upper, work, o.readonly, mountOptions...); err != nil {
		return 125, err
	}
	defer func() { err = errors.Join(err, overlayfs.Unmount(ctx, merged)) }()
	if status, err = isolate(ctx, merged, o.args); err != nil {
		return status, err
	}
	changes, err := overlayfs.Changes(ctx, o.upper, lower)
	if err != nil {
		return 125, err
	}
	for _, c := range changes {
		fmt.Println(c.Kind, c.Path)
	}
	if o.commit == "" {
		return status, nil
	}
	file, err := os.Create(o.commit)
	if err != nil {
		return 125, err
	}
	if err := errors.Join(overlayfs.Diff(ctx, o.upper, file), file.Close()); err != nil {
		return 125, errors.Join(err, os.Remove(o.commit))
	}
	return status, nil
}

// directories returns the layers' directories, the top first. Archives are
// unpacked into a store in the directory store.
func directories(ctx context.Context, store string, layers []string) ([]string, error) {
	s, err := overlayfs.OpenStore(store)
	if err != nil {
		return nil, err
	}
	var lower []string
	for _, layer := range slices.Backward(layers) {
		info, err := os.Stat(layer)
		if err != nil {
			return nil, err
		}
		if info.IsDir() {
			lower = append(lower, layer)
			continue
		}
		file, err := os.Open(layer)
		if err != nil {
			return nil, err
		}
		diffID, _, err := s.Import(ctx, file)
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", layer, err)
		}
		dir, err := s.Lower([]digest.Digest{diffID})
		if err != nil {
			return nil, err
		}
		lower = append(lower, dir...)
	}
	return lower, nil
}

// isolate runs the program in namespaces of its own, below root.
func isolate(ctx context.Context, root string, args []string) (int, error) {
	spec := namespaces.NewSpec(root, args...)
	spec.Hostname = "stack"
	p, err := namespaces.Create(ctx, spec, namespaces.Options{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Bound: true})
	if err != nil {
		return namespaces.ExitStatus(err), err
	}
	return p.Foreground(ctx)
}
