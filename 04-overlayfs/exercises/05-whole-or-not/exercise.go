//go:build linux && !solution

// Package wholeornot is an exercise of chapter 4.
package wholeornot

import (
	"os"
	"path/filepath"
)

// Publish makes the directory name in the directory store. fill fills an empty
// directory, whose path it is given. Whoever looks finds the whole directory
// under its name, or none; after an error there is nothing of it in store. When
// a directory of that name is there already, it stays, and that is no error.
func Publish(store, name string, fill func(dir string) error) error {
	dir := filepath.Join(store, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return fill(dir)
}
