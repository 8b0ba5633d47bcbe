package cli

import (
	"context"
	"errors"

	"github.com/moby/moby/client"
	"github.com/moby/term"
	"github.com/spf13/cobra"
)

func (c *cli) execCommand() *cobra.Command {
	var options client.ExecCreateOptions
	var detach bool
	var env, envFiles []string
	cmd := &cobra.Command{
		Use:   "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
		Short: "Execute a command in a running container",
		Args:  atLeast(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if options.Env, err = environment(env, envFiles); err != nil {
				return err
			}
			options.Cmd = args[1:]
			if detach {
				options.AttachStdin = false // nobody holds the other end
			} else {
				options.AttachStdout, options.AttachStderr = true, true
			}
			return c.exec(cmd.Context(), args[0], options, detach)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the container's name is the command's
	flags.BoolVarP(&detach, "detach", "d", false, "Detached mode: run command in the background")
	flags.BoolVarP(&options.AttachStdin, "interactive", "i", false, "Keep STDIN open even if not attached")
	flags.BoolVarP(&options.TTY, "tty", "t", false, "Allocate a pseudo-TTY")
	flags.StringVarP(&options.User, "user", "u", "", "Username or UID (format: <name|uid>[:<group|gid>])")
	flags.StringVarP(&options.WorkingDir, "workdir", "w", "", "Working directory inside the container")
	flags.StringArrayVarP(&env, "env", "e", nil, "Set environment variables, as in NAME=VALUE, or NAME for the client's own value")
	flags.StringArrayVar(&envFiles, "env-file", nil, "Read in a file of environment variables")
	flags.BoolVar(&options.Privileged, "privileged", false, "Give extended privileges to the command")
	flags.StringVar(&options.DetachKeys, "detach-keys", "ctrl-p,ctrl-q", "Key sequence for detaching a container")
	return cmd
}

// exec ends with the command's exit status, or when it runs if it is detached.
func (c *cli) exec(ctx context.Context, name string, options client.ExecCreateOptions, detach bool) error {
	if err := c.checkTerminal(options.TTY, options.AttachStdin); err != nil {
		return err
	}
	if size, err := term.GetWinsize(c.out.Fd()); options.TTY && err == nil {
		options.ConsoleSize = client.ConsoleSize{Height: uint(size.Height), Width: uint(size.Width)}
	}
	ctx, api, err := c.api(ctx)
	if err != nil {
		return err
	}
	created, err := api.ExecCreate(ctx, name, options)
	if err != nil {
		return err
	}
	if detach {
		_, err = api.ExecStart(ctx, created.ID, client.ExecStartOptions{Detach: true, TTY: options.TTY})
		return err
	}
	attached, err := api.ExecAttach(ctx, created.ID, client.ExecAttachOptions{TTY: options.TTY, ConsoleSize: options.ConsoleSize})
	if err != nil {
		return err
	}
	defer attached.Close()
	resize := func(ctx context.Context, height, width uint) {
		_, _ = api.ExecResize(ctx, created.ID, client.ExecResizeOptions{Height: height, Width: width})
	}
	err = c.stream(ctx, attached.HijackedResponse, resize, options.TTY, options.AttachStdin, options.DetachKeys)
	if errors.Is(err, errDetached) {
		return nil
	}
	if err != nil {
		return err
	}
	ended, err := api.ExecInspect(ctx, created.ID, client.ExecInspectOptions{})
	if err != nil {
		return err
	}
	if ended.ExitCode != 0 {
		return &exitError{status: ended.ExitCode}
	}
	return nil
}
