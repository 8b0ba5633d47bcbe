//go:build !linux

package cli

import (
	"context"
	"errors"
)

// mayStart reports whether the daemon can be started here: it needs Linux, so
// it runs in a virtual machine that the user starts.
func mayStart() bool { return false }

func nobodyListens(error) bool { return false }

func startDaemon(context.Context) error {
	return errors.New("the daemon runs on Linux only")
}
