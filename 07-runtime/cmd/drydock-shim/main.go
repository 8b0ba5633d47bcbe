//go:build linux

// Command drydock-shim is the supervisor of one container: it owns the
// terminal or pipes, the log and the exit status, and outlives the engine,
// which launches it (package shim) with the container's directory as its
// argument and the listening socket as descriptor 3.
//
//go:debug containermaxprocs=0
package main

import (
	"context"
	"fmt"
	"os"

	"drydock.example/01-chroot/explain"
	"drydock.example/07-runtime/shim/supervisor"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: drydock-shim DIR\nIt is started by drydockd, not by hand.")
		os.Exit(2)
	}
	// They were for this process, not for the runtime.
	os.Unsetenv("GOMAXPROCS")
	os.Unsetenv("GOGC")
	ctx, _ := explain.FromEnv(context.Background())
	if err := supervisor.Run(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "drydock-shim:", err)
		os.Exit(1)
	}
}
