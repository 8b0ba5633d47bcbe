package cli

import (
	"context"
	"io"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func (c *cli) logsCommand() *cobra.Command {
	options := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true}
	cmd := &cobra.Command{
		Use:   "logs [OPTIONS] CONTAINER",
		Short: "Fetch the logs of a container",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.logs(cmd.Context(), args[0], options)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&options.Follow, "follow", "f", false, "Follow log output")
	flags.BoolVarP(&options.Timestamps, "timestamps", "t", false, "Show timestamps")
	flags.StringVarP(&options.Tail, "tail", "n", "all", "Number of lines to show from the end of the logs")
	flags.StringVar(&options.Since, "since", "", "Show logs since a time, as in '2013-01-02T13:23:37Z', or for a while, as in '42m'")
	flags.StringVar(&options.Until, "until", "", "Show logs before a time, as in '2013-01-02T13:23:37Z', or a while ago, as in '42m'")
	return cmd
}

func (c *cli) logs(ctx context.Context, name string, options client.ContainerLogsOptions) error {
	ctx, api, err := c.api(ctx)
	if err != nil {
		return err
	}
	// How the lines are framed depends on the container's terminal.
	found, err := api.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	log, err := api.ContainerLogs(ctx, found.Container.ID, options)
	if err != nil {
		return err
	}
	defer log.Close()
	if found.Container.Config.Tty {
		_, err = io.Copy(c.out, log)
	} else {
		_, err = stdcopy.StdCopy(c.out, c.err, log)
	}
	return err
}
