// Doctor says what of chapter 1 will not work on this host, why, and what cures
// that.
//
//	doctor [--explain]
//
// It changes nothing. Its exit status is 1 when something is missing without
// which no container works. The finished engine's `drydock doctor` asks the
// questions of all chapters.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"drydock.example/01-chroot/doctor"
	"drydock.example/01-chroot/explain"
)

func main() {
	narrate := flag.Bool("explain", false, "show each kernel operation and its reason")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), "Usage: doctor [--explain]\nSay what of this chapter will not work on this host, why, and the cure.\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "doctor: unexpected argument %q; see doctor --help\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx := context.Background()
	if *narrate {
		ctx = explain.With(ctx, explain.Text(os.Stderr))
	}
	missing, err := doctor.Examine(ctx, os.Stdout, doctor.Host())
	if err != nil {
		fmt.Fprintln(os.Stderr, "doctor:", err)
	}
	if err != nil || missing > 0 {
		os.Exit(1)
	}
}
