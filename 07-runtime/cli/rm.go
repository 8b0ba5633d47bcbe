package cli

import (
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func (c *cli) rmCommand() *cobra.Command {
	var options client.ContainerRemoveOptions
	cmd := &cobra.Command{
		Use:   "rm [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Remove one or more containers",
		Args:  atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, api, err := c.api(cmd.Context())
			if err != nil {
				return err
			}
			return failure(c.each(args, func(name string) error {
				_, err := api.ContainerRemove(ctx, strings.Trim(name, "/"), options)
				if options.Force && errdefs.IsNotFound(err) {
					// As with rm -f, what is not there need not be removed.
					return &tolerated{err}
				}
				return err
			}))
		},
	}
	cmd.Flags().BoolVarP(&options.Force, "force", "f", false, "Force the removal of a running container (uses SIGKILL)")
	cmd.Flags().BoolVarP(&options.RemoveVolumes, "volumes", "v", false, "Remove anonymous volumes associated with the container")
	return cmd
}
