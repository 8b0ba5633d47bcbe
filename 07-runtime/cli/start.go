package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func (c *cli) startCommand() *cobra.Command {
	var attach, interactive bool
	var streaming streamFlags
	cmd := &cobra.Command{
		Use:   "start [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Start one or more stopped containers",
		Args:  atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if attach || interactive {
				if len(args) > 1 {
					return &usageError{cmd, errors.New("you cannot start and attach multiple containers at once")}
				}
				return c.startAttached(cmd.Context(), args[0], interactive, streaming)
			}
			ctx, api, err := c.api(cmd.Context())
			if err != nil {
				return err
			}
			failed := c.each(args, func(name string) error {
				_, err := api.ContainerStart(ctx, name, client.ContainerStartOptions{})
				return err
			})
			if len(failed) > 0 {
				return &exitError{1, "Error: failed to start containers: " + strings.Join(failed, ", ")}
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&attach, "attach", "a", false, "Attach STDOUT/STDERR and forward signals")
	cmd.Flags().BoolVarP(&interactive, "interactive", "i", false, "Attach container's STDIN")
	streaming.add(cmd.Flags())
	return cmd
}

func (c *cli) startAttached(ctx context.Context, name string, interactive bool, streaming streamFlags) error {
	ctx, api, err := c.api(ctx)
	if err != nil {
		return err
	}
	found, err := api.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	id, config := found.Container.ID, *found.Container.Config
	config.AttachStdin = interactive && config.OpenStdin
	if err := c.checkTerminal(config.Tty, config.AttachStdin); err != nil {
		return err
	}
	if streaming.sigProxy && !config.Tty {
		defer c.proxySignals(ctx, id)()
	}
	attached, err := api.ContainerAttach(ctx, id, client.ContainerAttachOptions{
		Stream: true, Stdin: config.AttachStdin, Stdout: true, Stderr: true, DetachKeys: streaming.detachKeys,
	})
	if err != nil {
		return err
	}
	defer attached.Close()
	condition := container.WaitConditionNextExit
	if found.Container.HostConfig.AutoRemove {
		condition = container.WaitConditionRemoved
	}
	wait := api.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: condition})
	if _, err := api.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
		return err
	}
	return c.runStreams(ctx, id, attached, wait, &config, streaming)
}
