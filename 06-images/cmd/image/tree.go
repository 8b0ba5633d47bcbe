//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	images "drydock.example/06-images"
)

var tree = command{
	usage: "tree",
	about: "draw which images share which layers, and what each layer costs on disk",
	run: func(_ context.Context, store *images.Store, args []string) (int, error) {
		if len(args) != 0 {
			return 2, errUsage
		}
		root, err := store.Tree()
		if err != nil {
			return 1, err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
		fmt.Fprintln(w, "LAYER\tUNPACKED\tBLOB\tIMAGES")
		if len(root.Images) > 0 {
			fmt.Fprintf(w, "(no layer)\t\t\t%s\n", names(root.Images))
		}
		for _, n := range root.Above {
			draw(w, n, "", "")
		}
		unpacked, packed := root.Disk()
		fmt.Fprintf(w, "on disk\t%s\t%s\n", images.FormatSize(unpacked), images.FormatSize(packed))
		alone := withoutSharing(root)
		fmt.Fprintf(w, "not shared\t%s\n", images.FormatSize(alone))
		return 0, w.Flush()
	},
}

// draw writes a layer after the branch that leads to it, and what stands above
// it after the trunk.
func draw(w io.Writer, n *images.Node, branch, trunk string) {
	unpacked, packed := images.FormatSize(n.Unpacked), images.FormatSize(n.Packed)
	if n.Again {
		unpacked, packed = "(again)", "(again)"
	}
	fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\n", branch, n.DiffID.Encoded()[:12], unpacked, packed, names(n.Images))
	for i, above := range n.Above {
		if i < len(n.Above)-1 {
			draw(w, above, trunk+"├─ ", trunk+"│  ")
		} else {
			draw(w, above, trunk+"└─ ", trunk+"   ")
		}
	}
}

// names returns the tags of images, and the IDs of those that have none.
func names(all []images.Image) string {
	var names []string
	for _, img := range all {
		if len(img.Tags) == 0 {
			names = append(names, img.ID.Encoded()[:12])
		}
		for _, name := range img.Tags {
			if ref, err := images.ParseReference(name); err == nil {
				name = images.Familiar(ref)
			}
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// withoutSharing returns what the unpacked layers would need if each image had
// its own.
func withoutSharing(n *images.Node) (total int64) {
	for _, img := range n.Images {
		total += img.Size
	}
	for _, above := range n.Above {
		total += withoutSharing(above)
	}
	return total
}
