//go:build linux && !solution

// Package thelastone is an exercise of chapter 3.
package thelastone

import (
	"errors"
	"os"
)

// AwaitEmpty returns when the cgroup to which events, its open cgroup.events,
// belongs has no process. read returns the file's present content.
func AwaitEmpty(events *os.File, read func() (string, error)) error {
	return errors.New("not solved yet")
}
