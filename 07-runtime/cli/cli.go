package cli

import (
	"context"
	"errors"
	"fmt"

	"os"
	"sync"

	"github.com/spf13/cobra"

	"drydock.example/01-chroot/explain"
)

// chapter is the one that explains how the client and the daemon meet.
const chapter explain.Chapter = 7

// cli is one run of the program.
type cli struct {
	version  string
	in       *os.File
	out, err *os.File
	signals  *signals

	host    string // from -H
	context string // from --context
	explain bool
	conn    *connection // made by the first request
}

// exitError ends the program with a status. Text is printed when there is any.
type exitError struct {
	status int
	text   string
}

func (e *exitError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.text
}

// tolerated is an error that is said and does not make the command fail.
type tolerated struct{ error }

func (e *tolerated) Unwrap() error { return e.error }

// usageError is a command line that the command cannot take.
type usageError struct {
	command *cobra.Command
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// Main runs the program with args, which do not hold its name, and returns its
// exit status. version is Drydock's own.
func Main(version string, args []string) int {
	ctx, signals := watchSignals(context.Background())
	defer signals.stop()
	c := &cli{version: version, in: os.Stdin, out: os.Stdout, err: os.Stderr, signals: signals}
	root := c.rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if c.conn != nil {
		c.conn.close()
	}
	return c.report(err)
}

// report prints err as docker does and returns the exit status.
func (c *cli) report(err error) int {
	if err == nil {
		return 0
	}
	if status, ok := c.signals.caught(); ok {
		return status
	}
	var exit *exitError
	var usage *usageError
	switch {
	case errors.As(err, &exit):
		if exit.text != "" {
			fmt.Fprintln(c.err, exit.text)
		}
		return exit.status
	case errors.As(err, &usage):
		path := usage.command.CommandPath()
		fmt.Fprintf(c.err, "drydock: %v\n\nUsage:  %s\n\nRun '%s --help' for more information\n", err, usage.command.UseLine(), path)
		return 125
	}
	fmt.Fprintln(c.err, c.daemonError(err))
	return 1
}

func (c *cli) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:               "drydock [OPTIONS] COMMAND [ARG...]",
		Short:             "A container engine that can be read",
		Version:           c.version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		TraverseChildren:  true,
		DisableAutoGenTag: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return &usageError{cmd, fmt.Errorf("unknown command: drydock %s", args[0])}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("Drydock version {{.Version}}\n")
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{cmd, err} })
	root.Flags().BoolP("version", "v", false, "Print version information and quit")
	flags := root.PersistentFlags()
	flags.StringVarP(&c.host, "host", "H", "", "Daemon socket to connect to, as in unix:///run/drydock/drydock.sock or ssh://USER@HOST (default $DRYDOCK_HOST)")
	flags.StringVarP(&c.context, "context", "c", "", "Name of the context to use to connect to the daemon (overrides DRYDOCK_HOST and the one set with \"drydock context use\")")
	flags.BoolVar(&c.explain, "explain", false, "Narrate each kernel operation on stderr as it happens")
	root.AddCommand(
		c.attachCommand(),
		c.contextCommand(),
		c.createCommand(),
		c.doctorCommand(),
		c.execCommand(),
		c.imagesCommand(),
		c.infoCommand(),
		c.inspectCommand(),
		c.killCommand(),
		c.logsCommand(),
		c.psCommand(),
		c.pullCommand(),
		c.rmCommand(),
		c.rmiCommand(),
		c.runCommand(),
		c.startCommand(),
		c.stopCommand(),
		c.systemCommand(),
		c.versionCommand(),
		c.waitCommand(),
		c.imageCommand(),
		c.containerCommand(),
	)
	plainUsage(root)
	return root
}

// plainUsage keeps cobra from adding "[flags]" where docker has "[OPTIONS]".
func plainUsage(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	for _, sub := range cmd.Commands() {
		plainUsage(sub)
	}
}

// imageCommand and containerCommand are docker's longer names of the same verbs.
func (c *cli) imageCommand() *cobra.Command {
	list, remove := c.imagesCommand(), c.rmiCommand()
	list.Use, list.Aliases = "ls [OPTIONS] [REPOSITORY[:TAG]]", []string{"list"}
	remove.Use, remove.Aliases = "rm [OPTIONS] IMAGE [IMAGE...]", []string{"remove"}
	return group("image", "Manage images", list, remove, c.pullCommand(), c.imageInspectCommand())
}

func (c *cli) containerCommand() *cobra.Command {
	list := c.psCommand()
	list.Use, list.Aliases = "ls [OPTIONS]", []string{"list", "ps"}
	return group("container", "Manage containers", list,
		c.attachCommand(), c.createCommand(), c.execCommand(), c.containerInspectCommand(), c.killCommand(), c.logsCommand(),
		c.rmCommand(), c.runCommand(), c.startCommand(), c.stopCommand(), c.waitCommand())
}

func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name + " COMMAND",
		Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return &usageError{cmd, fmt.Errorf("unknown command: drydock %s %s", name, args[0])}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

// atLeast and exactly check the number of arguments, in docker's words.
func atLeast(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= n {
			return nil
		}
		return &usageError{cmd, fmt.Errorf("'%s' requires at least %s", cmd.CommandPath(), arguments(n))}
	}
}

func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		if n == 0 {
			return &usageError{cmd, fmt.Errorf("'%s' accepts no arguments", cmd.CommandPath())}
		}
		return &usageError{cmd, fmt.Errorf("'%s' requires %s", cmd.CommandPath(), arguments(n))}
	}
}

func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) <= n {
			return nil
		}
		return &usageError{cmd, fmt.Errorf("'%s' requires at most %s", cmd.CommandPath(), arguments(n))}
	}
}

func arguments(n int) string {
	if n == 1 {
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", n)
}

// each does one thing to each of names at the same time, and prints, in their
// order, the name or what went wrong. It returns the names that failed.
func (c *cli) each(names []string, do func(name string) error) (failed []string) {
	errs := make([]error, len(names))
	var work sync.WaitGroup
	for i, name := range names {
		work.Go(func() { errs[i] = do(name) })
	}
	work.Wait()
	for i, name := range names {
		if errs[i] == nil {
			fmt.Fprintln(c.out, name)
			continue
		}
		fmt.Fprintln(c.err, c.daemonError(errs[i]))
		var fine *tolerated
		if !errors.As(errs[i], &fine) {
			failed = append(failed, name)
		}
	}
	return failed
}

// failure is the end of a command that has printed what failed.
func failure(failed []string) error {
	if len(failed) == 0 {
		return nil
	}
	return &exitError{status: 1}
}
