//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
)

// errNoHome is for a user of whom it is not known where his files are.
var errNoHome = errors.New("there is no place for the image store, because $HOME is not set: set it, or name a directory with --root")

// defaultRoot is where the image store is when nobody says: root's is the
// machine's. An ordinary user's is among his data, and "" where those have no
// place. What is unpacked there is his and belongs to the ids of his user
// namespace (see [namespaces.AsRoot]), as which this program alone reads it.
//
// Source: XDG Base Directory Specification.
func defaultRoot() string {
	if os.Geteuid() == 0 {
		return "/var/lib/drydock-image"
	}
	data := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(data) { // which is to be ignored
		home := os.Getenv("HOME")
		if home == "" {
			return ""
		}
		data = filepath.Join(home, ".local/share")
	}
	return filepath.Join(data, "drydock-image")
}
