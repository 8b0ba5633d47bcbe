//go:build linux && !solution

// Package makeitvanish is an exercise of chapter 4.
package makeitvanish

import (
	"os"
	"path/filepath"
)

// Hide changes the directory upper so that an overlay of it over any lower
// layers has no file, directory or link called name in its root.
func Hide(upper, name string) error {
	return os.RemoveAll(filepath.Join(upper, name))
}
