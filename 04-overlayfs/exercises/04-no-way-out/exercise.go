//go:build linux && !solution

// Package nowayout is an exercise of chapter 4.
package nowayout

import (
	"os"
	"path/filepath"
)

// Create makes the file name, a path from an archive that nobody vouches for,
// in the directory root, and returns it open for writing. Its parent directory
// is there. Links on the way lead where they lead for a process whose / is
// root; what stands at the name itself is replaced.
func Create(root, name string) (*os.File, error) {
	return os.Create(filepath.Join(root, filepath.Clean("/"+name)))
}
