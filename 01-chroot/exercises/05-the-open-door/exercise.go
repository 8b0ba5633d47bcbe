//go:build linux && !solution

// Package opendoor is an exercise of chapter 1.
package opendoor

import "errors"

// Leave makes the root of the host this process's root, by a directory outside
// of the present root that is open as one of the descriptors from 3 to 255. It
// is an error when there is none.
func Leave() error {
	return errors.New("not solved yet")
}
