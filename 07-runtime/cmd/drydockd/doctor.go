//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"drydock.example/01-chroot/doctor"
	"drydock.example/01-chroot/explain"
	namespaces "drydock.example/02-namespaces"
	cgroups "drydock.example/03-cgroups"
	overlayfs "drydock.example/04-overlayfs"
	networking "drydock.example/05-networking"
)

// examine asks the host the questions of all chapters, writes the answers to w
// and returns the exit status: 1 when something is missing without which no
// container works. No daemon need be running, and none is disturbed.
func examine(w io.Writer, root string) int {
	// The client's --explain arrives in the environment.
	ctx, narration := explain.FromEnv(context.Background())
	if narration != nil {
		defer narration.Close()
	}
	missing, err := doctor.Examine(ctx, w, slices.Concat(
		doctor.Host(), namespaces.Checks(), cgroups.Checks(), overlayfs.Checks(root), networking.Checks()))
	if err != nil {
		fmt.Fprintln(os.Stderr, "drydockd:", err)
	}
	if err != nil || missing > 0 {
		return 1
	}
	return 0
}
