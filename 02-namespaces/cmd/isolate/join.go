//go:build linux

package main

import (
	"context"
	"os"

	namespaces "drydock.example/02-namespaces"
)

// join runs a program in the namespaces of a process.
func join(ctx context.Context, o options, args []string) (int, error) {
	target, err := namespaces.OpenProcess(o.join)
	if err != nil {
		return 125, err
	}
	defer target.Close()
	p, err := namespaces.Exec(ctx, target, namespaces.NewSpec("/", args...).Process,
		namespaces.Options{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Bound: true})
	if err != nil {
		return namespaces.ExitStatus(err), err
	}
	return p.Foreground(ctx)
}
