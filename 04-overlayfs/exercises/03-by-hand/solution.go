//go:build linux && solution

// Package byhand is an exercise of chapter 4.
package byhand

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Merge mounts, at the directory target, the merged view of layers, directories
// with the topmost first, and over them upper, which takes what is written.
// work is an empty directory beside upper. The paths are absolute, and may hold
// any character.
func Merge(target string, layers []string, upper, work string) error {
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`)
	var lower []string
	for _, layer := range layers {
		lower = append(lower, escape.Replace(layer))
	}
	options := "lowerdir=" + strings.Join(lower, ":") + ",upperdir=" + escape.Replace(upper) + ",workdir=" + escape.Replace(work)
	if err := unix.Mount("overlay", target, "overlay", 0, options); err != nil {
		return &os.PathError{Op: "mount " + options, Path: target, Err: err}
	}
	return nil
}
