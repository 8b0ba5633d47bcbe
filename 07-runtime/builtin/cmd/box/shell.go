//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/term"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// shell is sh: a command with -c, a file, standard input, or a prompt.
func shell(args []string) error {
	flags := flag.NewFlagSet("sh", flag.ContinueOnError)
	command := flags.String("c", "", "run the `command` and end")
	if err := flags.Parse(args); err != nil {
		return status(2)
	}
	given := false
	flags.Visit(func(f *flag.Flag) { given = given || f.Name == "c" })

	var params []string
	if flags.NArg() > 1 {
		params = flags.Args()[1:] // the first is $0, or the file
	}
	sh, err := interp.New(interp.StdIO(os.Stdin, os.Stdout, os.Stderr), interp.Params(append([]string{"--"}, params...)...), interp.Interactive(true))
	if err != nil {
		return err
	}
	switch {
	case given:
		return runScript(sh, strings.NewReader(*command), "-c")
	case flags.NArg() > 0:
		f, err := os.Open(flags.Arg(0))
		if err != nil {
			return err
		}
		defer f.Close()
		return runScript(sh, f, flags.Arg(0))
	case term.IsTerminal(0):
		return prompt(sh)
	}
	return runScript(sh, os.Stdin, "standard input")
}

func runScript(sh *interp.Runner, r io.Reader, name string) error {
	program, err := syntax.NewParser().Parse(r, name)
	if err != nil {
		return err
	}
	return sh.Run(context.Background(), program)
}

// prompt reads a line, runs it, and reads the next. An interrupt ends what
// runs, not the shell.
func prompt(sh *interp.Runner) error {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	parser := syntax.NewParser()
	fmt.Print("# ")
	var last error
	for statements, err := range parser.InteractiveSeq(os.Stdin) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return status(2)
		}
		if parser.Incomplete() {
			fmt.Print("> ")
			continue
		}
		for _, s := range statements {
			ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
			last = sh.Run(ctx, s)
			cancel()
			if sh.Exited() {
				return last
			}
		}
		fmt.Print("# ")
	}
	fmt.Println()
	return last
}
