package cli

import (
	"context"
	"fmt"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func (c *cli) waitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "wait CONTAINER [CONTAINER...]",
		Short: "Block until one or more containers stop, then print their exit codes",
		Args:  atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, api, err := c.api(cmd.Context())
			if err != nil {
				return err
			}
			failed := false
			for _, name := range args {
				status, err := waitFor(ctx, api.ContainerWait(ctx, name, client.ContainerWaitOptions{}))
				if err != nil {
					failed = true
					fmt.Fprintln(c.err, c.daemonError(err))
					continue
				}
				fmt.Fprintln(c.out, status)
			}
			if failed {
				return &exitError{status: 1}
			}
			return nil
		},
	}
}

// waitFor returns the exit status that a wait request brings.
func waitFor(ctx context.Context, wait client.ContainerWaitResult) (int, error) {
	select {
	case result := <-wait.Result:
		if result.Error != nil {
			return 125, fmt.Errorf("Error waiting for container: %s", result.Error.Message)
		}
		return int(result.StatusCode), nil
	case err := <-wait.Error:
		return 125, err
	case <-ctx.Done():
		return 125, ctx.Err()
	}
}
