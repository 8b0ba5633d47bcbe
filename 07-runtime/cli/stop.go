package cli

import (
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func (c *cli) stopCommand() *cobra.Command {
	var signal string
	var timeout int
	cmd := &cobra.Command{
		Use:   "stop [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Stop one or more running containers",
		Args:  atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			options := client.ContainerStopOptions{Signal: signal}
			if cmd.Flags().Changed("timeout") || cmd.Flags().Changed("time") {
				options.Timeout = &timeout
			}
			ctx, api, err := c.api(cmd.Context())
			if err != nil {
				return err
			}
			return failure(c.each(args, func(name string) error {
				_, err := api.ContainerStop(ctx, name, options)
				return err
			}))
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&signal, "signal", "s", "", "Signal to send to the container")
	flags.IntVarP(&timeout, "timeout", "t", 0, "Seconds to wait before killing the container; -1: without end")
	flags.IntVar(&timeout, "time", 0, "Old name of --timeout")
	_ = flags.MarkHidden("time")
	return cmd
}
