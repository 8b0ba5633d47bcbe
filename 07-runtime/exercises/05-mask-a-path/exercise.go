//go:build linux && !solution

// Package maskapath is an exercise of chapter 7.
package maskapath

import "errors"

// Mask makes the file path empty for the container that the process pid is in.
// Path is as seen in the container, which may have put a link there.
func Mask(pid int, path string) error {
	return errors.New("not solved yet")
}
