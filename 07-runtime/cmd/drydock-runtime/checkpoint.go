//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// notSupported answers a command of runc's whose work needs another program,
// criu, whatever its options are.
func notSupported(command string) func(context.Context, *global, []string) error {
	return func(_ context.Context, _ *global, args []string) error {
		if len(args) == 1 && slices.Contains([]string{"-h", "-help", "--help"}, args[0]) {
			return parseOptions(options(command), args, "")
		}
		return fmt.Errorf("%s: not supported: this runtime does not save a container's memory to disk: %s", command, strings.Join(args, " "))
	}
}
