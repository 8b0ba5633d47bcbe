//go:build linux && !solution

// Package nobodyescapes is an exercise of chapter 3.
package nobodyescapes

import "errors"

// KillAll ends every process in dir, a cgroup of the v2 hierarchy without
// children, by calls of kill, which sends SIGKILL to one. It returns when the
// signals are sent.
func KillAll(dir string, kill func(pid int) error) error {
	return errors.New("not solved yet")
}
