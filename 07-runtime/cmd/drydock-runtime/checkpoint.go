//go:build linux

package main

import (
	"context"
	"fmt"
)

// notSupported answers a command of runc's whose work needs another program,
// criu, whatever its options are.
func notSupported(command string) func(context.Context, *global, []string) error {
	return func(context.Context, *global, []string) error {
		return fmt.Errorf("%s: not supported: this runtime does not save a container's memory to disk", command)
	}
}
