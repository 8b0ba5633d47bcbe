package cli

import (
	"fmt"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func (c *cli) rmiCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rmi [OPTIONS] IMAGE [IMAGE...]",
		Short: "Remove one or more images",
		Args:  atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, api, err := c.api(cmd.Context())
			if err != nil {
				return err
			}
			failed := false
			// One after the other: two names may be of one image.
			for _, name := range args {
				removed, err := api.ImageRemove(ctx, name, client.ImageRemoveOptions{Force: force, PruneChildren: true})
				if err != nil {
					failed = true
					fmt.Fprintln(c.err, c.daemonError(err))
				}
				for _, item := range removed.Items {
					if item.Deleted != "" {
						fmt.Fprintln(c.out, "Deleted:", item.Deleted)
					} else {
						fmt.Fprintln(c.out, "Untagged:", item.Untagged)
					}
				}
			}
			if failed {
				return &exitError{status: 1}
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force removal of the image")
	return cmd
}
