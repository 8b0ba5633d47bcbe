//go:build linux && !solution

// Package nobodyescapes is an exercise of chapter 3.
package nobodyescapes

import "errors"

// KillAll ends every process in dir, a cgroup of the v2 hierarchy without
// children. It returns when the signals are sent.
func KillAll(dir string) error {
	return errors.New("not solved yet")
}
