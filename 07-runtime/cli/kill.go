package cli

import (
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func (c *cli) killCommand() *cobra.Command {
	var signal string
	cmd := &cobra.Command{
		Use:   "kill [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Kill one or more running containers",
		Args:  atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, api, err := c.api(cmd.Context())
			if err != nil {
				return err
			}
			return failure(c.each(args, func(name string) error {
				_, err := api.ContainerKill(ctx, name, client.ContainerKillOptions{Signal: signal})
				return err
			}))
		},
	}
	cmd.Flags().StringVarP(&signal, "signal", "s", "", "Signal to send to the container (default KILL)")
	return cmd
}
