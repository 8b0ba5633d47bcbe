//go:build linux

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func kill(ctx context.Context, g *global, args []string) error {
	fs := options("kill")
	var all bool
	fs.BoolVar(&all, "all", false, "send it to all processes of the container")
	fs.BoolVar(&all, "a", false, "send it to all processes of the container")
	rest, err := parse(fs, args, "<container-id> [signal]", 1, 2)
	if err != nil {
		return err
	}
	sig := unix.SIGTERM
	if len(rest) == 2 {
		if sig, err = parseSignal(rest[1]); err != nil {
			return err
		}
	}
	return g.Signal(ctx, rest[0], sig, all)
}

// lastSignal is SIGRTMAX (signal(7)).
const lastSignal = 64

// parseSignal reads a signal's number, or its name with or without SIG.
func parseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 || n > lastSignal {
			return 0, fmt.Errorf("signal %d: want 0 to %d", n, lastSignal)
		}
		return unix.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, nil
	}
	for prefix, base := range map[string]int{"RTMIN": 34, "RTMAX": lastSignal} {
		if offset, ok := strings.CutPrefix(name, prefix); ok {
			n, err := strconv.Atoi("0" + strings.TrimLeft(offset, "+-"))
			if strings.HasPrefix(offset, "-") {
				n = -n
			}
			if err == nil && base+n >= 34 && base+n <= lastSignal {
				return unix.Signal(base + n), nil
			}
		}
	}
	return 0, fmt.Errorf("unknown signal %q: want a number, or a name like TERM", s)
}
