package cli

import (
	"context"
	"fmt"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func (c *cli) attachCommand() *cobra.Command {
	var noStdin bool
	var streaming streamFlags
	cmd := &cobra.Command{
		Use:   "attach [OPTIONS] CONTAINER",
		Short: "Attach local standard input, output, and error streams to a running container",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.attach(cmd.Context(), args[0], !noStdin, streaming)
		},
	}
	cmd.Flags().BoolVar(&noStdin, "no-stdin", false, "Do not attach STDIN")
	streaming.add(cmd.Flags())
	return cmd
}

func (c *cli) attach(ctx context.Context, name string, stdin bool, streaming streamFlags) error {
	ctx, api, err := c.api(ctx)
	if err != nil {
		return err
	}
	found, err := api.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	id, config := found.Container.ID, *found.Container.Config
	if !found.Container.State.Running {
		return &exitError{1, fmt.Sprintf("cannot attach to container %s: it is %s; see 'drydock start --attach'", name, found.Container.State.Status)}
	}
	config.AttachStdin = stdin && config.OpenStdin
	if err := c.checkTerminal(config.Tty, config.AttachStdin); err != nil {
		return err
	}
	if streaming.sigProxy && !config.Tty {
		defer c.proxySignals(ctx, id)()
	}
	// The wait comes first: the container may end while the attach is made.
	wait := api.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	attached, err := api.ContainerAttach(ctx, id, client.ContainerAttachOptions{
		Stream: true, Stdin: config.AttachStdin, Stdout: true, Stderr: true, DetachKeys: streaming.detachKeys,
	})
	if err != nil {
		return err
	}
	defer attached.Close()
	return c.runStreams(ctx, id, attached, wait, &config, streaming)
}
