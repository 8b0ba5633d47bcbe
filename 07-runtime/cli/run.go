package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/moby/term"
	"github.com/spf13/cobra"
)

func (c *cli) runCommand() *cobra.Command {
	var flags containerFlags
	var streaming streamFlags
	var detach bool
	cmd := &cobra.Command{
		Use:   "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Create and run a new container from an image",
		Args:  atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := flags.options(args, cmd.Flags())
			if err != nil {
				return err
			}
			if detach {
				// Nobody holds the other end of these streams.
				options.Config.AttachStdin, options.Config.AttachStdout, options.Config.AttachStderr = false, false, false
				options.Config.StdinOnce = false
				return c.runDetached(cmd.Context(), options, &flags)
			}
			return c.runAttached(cmd.Context(), options, &flags, streaming)
		},
	}
	flags.add(cmd.Flags())
	streaming.add(cmd.Flags())
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "Run container in background and print container ID")
	addHelp(cmd)
	return cmd
}

func (c *cli) runDetached(ctx context.Context, options client.ContainerCreateOptions, flags *containerFlags) error {
	id, err := c.create(ctx, options, flags)
	if err != nil {
		return c.runError(err)
	}
	ctx, api, err := c.api(ctx)
	if err != nil {
		return err
	}
	if _, err := api.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
		return c.runError(err)
	}
	fmt.Fprintln(c.out, id)
	return nil
}

// runAttached is the order that loses nothing: attach before the first byte of
// output, wait before the container can end, then start.
func (c *cli) runAttached(ctx context.Context, options client.ContainerCreateOptions, flags *containerFlags, streaming streamFlags) error {
	config := options.Config
	if err := c.checkTerminal(config.Tty, config.AttachStdin); err != nil {
		return err
	}
	if size, err := term.GetWinsize(c.out.Fd()); config.Tty && err == nil {
		options.HostConfig.ConsoleSize = [2]uint{uint(size.Height), uint(size.Width)}
	}
	id, err := c.create(ctx, options, flags)
	if err != nil {
		return c.runError(err)
	}
	ctx, api, err := c.api(ctx)
	if err != nil {
		return err
	}
	if streaming.sigProxy && !config.Tty {
		// From here on a signal is the container's, which has to be there for it.
		defer c.proxySignals(ctx, id)()
	}
	attached, err := api.ContainerAttach(ctx, id, client.ContainerAttachOptions{
		Stream: true, Stdin: config.AttachStdin, Stdout: true, Stderr: true, DetachKeys: streaming.detachKeys,
	})
	if err != nil {
		return c.runError(err)
	}
	defer attached.Close()
	condition := container.WaitConditionNextExit
	if flags.autoRemove {
		condition = container.WaitConditionRemoved
	}
	wait := api.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: condition})
	if _, err := api.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
		if flags.autoRemove {
			// A container that never ran does not end, and so is not removed by that.
			_, _ = api.ContainerRemove(context.WithoutCancel(ctx), id, client.ContainerRemoveOptions{Force: true})
		}
		return c.runError(err)
	}
	return c.runStreams(ctx, id, attached, wait, config, streaming)
}

// runStreams copies the streams until the container's end or the detach keys,
// and returns the container's exit status.
func (c *cli) runStreams(ctx context.Context, id string, attached client.ContainerAttachResult, wait client.ContainerWaitResult, config *container.Config, streaming streamFlags) error {
	resize := func(ctx context.Context, height, width uint) {
		_, _ = c.conn.ContainerResize(ctx, id, client.ContainerResizeOptions{Height: height, Width: width})
	}
	err := c.stream(ctx, attached.HijackedResponse, resize, config.Tty, config.AttachStdin, streaming.detachKeys)
	if errors.Is(err, errDetached) {
		return nil
	}
	if err != nil {
		return c.runError(err)
	}
	status, err := waitFor(ctx, wait)
	if err != nil {
		return c.runError(err)
	}
	if status != 0 {
		return &exitError{status: status}
	}
	return nil
}

// runError returns err with the exit status that a shell would give: 127 for a
// program that is not there, 126 for one that cannot be executed, 125 for
// everything before. The API tells them apart by their text alone.
func (c *cli) runError(err error) error {
	var exit *exitError
	if errors.As(err, &exit) {
		return err
	}
	text := c.daemonError(err)
	status := 125
	switch {
	case !strings.HasPrefix(text, "Error response from daemon: "):
	case strings.Contains(text, "executable file not found"), strings.Contains(text, "no such file or directory"):
		status = 127
	case strings.Contains(text, "permission denied"), strings.Contains(text, "is a directory"), strings.Contains(text, "exec format error"):
		status = 126
	}
	return &exitError{status, "drydock: " + text + "\n\nRun 'drydock run --help' for more information"}
}
