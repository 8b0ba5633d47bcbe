//go:build linux && !solution

// Package wherefrom is an exercise of chapter 4.
package wherefrom

import (
	"io/fs"
	"os"
	"path/filepath"
)

// Origin returns that one of layers, directories with the topmost first, whose
// file is seen at path in their merged view, or fs.ErrNotExist where the merged
// view has nothing. Of a directory it is the topmost layer that has it. path is
// relative, clean, and has no symbolic link on its way.
func Origin(layers []string, path string) (string, error) {
	for _, layer := range layers {
		if _, err := os.Lstat(filepath.Join(layer, path)); err == nil {
			return layer, nil
		}
	}
	return "", fs.ErrNotExist
}
