//go:build linux && solution

// Package wherefrom is an exercise of chapter 4.
package wherefrom

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Origin returns that one of layers, directories with the topmost first, whose
// file is seen at path in their merged view, or fs.ErrNotExist where the merged
// view has nothing. Of a directory it is the topmost layer that has it. path is
// relative, clean, and has no symbolic link on its way.
func Origin(layers []string, path string) (string, error) {
	at := ""
	for name := range strings.SplitSeq(path, "/") {
		at = filepath.Join(at, name)
		var merged []string
	down:
		for _, layer := range layers {
			full := filepath.Join(layer, at)
			var st unix.Stat_t
			err := unix.Lstat(full, &st)
			switch {
			case errors.Is(err, unix.ENOENT):
				continue
			case err != nil:
				return "", err
			case st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0:
				break down
			case st.Mode&unix.S_IFMT != unix.S_IFDIR:
				if len(merged) == 0 {
					merged = []string{layer}
				}
				break down
			}
			merged = append(merged, layer)
			opaque := make([]byte, 1)
			if n, err := unix.Lgetxattr(full, "trusted.overlay.opaque", opaque); err == nil && n == 1 && opaque[0] == 'y' {
				break down
			}
		}
		if len(merged) == 0 {
			return "", fs.ErrNotExist
		}
		layers = merged
	}
	return layers[0], nil
}
