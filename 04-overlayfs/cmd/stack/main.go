//go:build linux

// Stack runs a program, in namespaces, in a root that is made of layers, and
// shows what it has changed.
//
//	stack [--explain] [--read-only] [--upper DIR] [--commit FILE] [--picture DIR] LAYER... -- PROGRAM [ARG...]
//	stack [--explain] [--upper DIR] [--commit FILE] [--picture DIR] LAYER...
//
// A LAYER is a directory or an uncompressed tar archive; the base comes first.
// Without a program nothing is mounted: what was written into DIR before is
// listed, and committed.
//
// An ordinary user is root in a user namespace of his own, with the ids that he
// has: files of others than those cannot be among his layers.
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

const usage = `usage: stack [--explain] [--read-only] [--upper DIR] [--commit FILE] [--picture DIR] LAYER... [-- PROGRAM [ARG...]]`

type options struct {
	readonly               bool
	upper, commit, picture string
	layers, args           []string
}

func main() {
	var o options
	flags := flag.NewFlagSet("stack", flag.ContinueOnError)
	narrate := flags.Bool("explain", false, "narrate each kernel operation")
	flags.BoolVar(&o.readonly, "read-only", false, "nothing can be written")
	flags.StringVar(&o.upper, "upper", "", "keep what is written in the directory `DIR`")
	flags.StringVar(&o.commit, "commit", "", "write the changes to the archive `FILE`, as a layer")
	flags.StringVar(&o.picture, "picture", "", "draw which layer each file at or below `DIR` comes from, / for all of them")
	flags.Usage = func() { fmt.Fprintln(flags.Output(), usage); flags.PrintDefaults() }
	if err := flags.Parse(os.Args[1:]); err != nil {
		os.Exit(2)
	}
	o.layers = flags.Args()
	if split := slices.Index(o.layers, "--"); split >= 0 {
		o.layers, o.args = o.layers[:split], o.layers[split+1:]
	}
	if len(o.layers) == 0 || len(o.args) == 0 && o.upper == "" && o.picture == "" {
		flags.Usage()
		os.Exit(2)
	}
	ctx := context.Background()
	if *narrate {
		ctx = explain.With(ctx, explain.Text(os.Stderr))
	}
	var status int
	var err error
	if os.Geteuid() != 0 {
		status, err = namespaces.AsRoot(ctx, os.Args[1:]...)
	} else {
		status, err = run(ctx, o)
	}
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
	if err := os.MkdirAll(o.upper, 0o755); err != nil {
		return 125, err
	}
	names, lower, err := directories(ctx, filepath.Join(dir, "layers"), o.layers)
	if err != nil {
		return 125, err
	}
	if len(o.args) > 0 {
		// On the file system of upper, as overlay demands.
		work, merged := o.upper+".work", filepath.Join(dir, "merged")
		for _, d := range []string{work, merged} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return 125, err
			}
		}
		defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
		if err := overlayfs.Supported(filepath.Dir(o.upper)); err != nil {
			return 125, err
		}
		if err := overlayfs.Mount(ctx, merged, lower, o.upper, work, o.readonly, mountOptions...); err != nil {
			return 125, err
		}
		defer func() { err = errors.Join(err, overlayfs.Unmount(ctx, merged)) }()
		if status, err = isolate(ctx, merged, o.args); err != nil {
			return status, err
		}
	}
	if err := report(ctx, o, names, lower); err != nil {
		return 125, err
	}
	return status, nil
}

// report shows what upper changes, draws the picture and commits.
func report(ctx context.Context, o options, names, lower []string) error {
	changes, err := overlayfs.Changes(ctx, o.upper, lower)
	if err != nil {
		return err
	}
	for _, c := range changes {
		fmt.Println(c.Kind, c.Path)
	}
	if o.picture != "" {
		if len(changes) > 0 {
			names, lower = append([]string{"upper"}, names...), append([]string{o.upper}, lower...)
		}
		if err := overlayfs.Picture(ctx, os.Stdout, names, lower, o.picture); err != nil {
			return err
		}
	}
	if o.commit == "" {
		return nil
	}
	file, err := os.Create(o.commit)
	if err != nil {
		return err
	}
	if err := errors.Join(overlayfs.Diff(ctx, o.upper, file), file.Close()); err != nil {
		return errors.Join(err, os.Remove(o.commit))
	}
	return nil
}

// directories returns the layers' directories, the top first, and what to call
// them. Archives are unpacked into a store in the directory store.
func directories(ctx context.Context, store string, layers []string) (names, lower []string, err error) {
	s, err := overlayfs.OpenStore(store)
	if err != nil {
		return nil, nil, err
	}
	for _, layer := range slices.Backward(layers) {
		info, err := os.Stat(layer)
		if err != nil {
			return nil, nil, err
		}
		names = append(names, filepath.Base(layer))
		if info.IsDir() {
			lower = append(lower, layer)
			continue
		}
		file, err := os.Open(layer)
		if err != nil {
			return nil, nil, err
		}
		diffID, _, err := s.Import(ctx, file)
		file.Close()
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", layer, err)
		}
		dir, err := s.Lower([]digest.Digest{diffID})
		if err != nil {
			return nil, nil, err
		}
		lower = append(lower, dir...)
	}
	return names, lower, nil
}

// isolate runs the program in namespaces of its own, below root.
func isolate(ctx context.Context, root string, args []string) (int, error) {
	spec := namespaces.NewSpec(root, args...)
	spec.Hostname = "stack"
	if err := namespaces.OnlyMappedGroups(spec); err != nil {
		return 125, err
	}
	p, err := namespaces.Create(ctx, spec, namespaces.Options{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Bound: true})
	if err != nil {
		return namespaces.ExitStatus(err), err
	}
	return p.Foreground(ctx)
}
