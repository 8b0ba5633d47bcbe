package cli

import "github.com/spf13/cobra"

func (c *cli) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Look at this host and say what will not work on it, why, and the cure",
		Args:  exactly(0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return c.doctor(cmd.Context()) },
	}
}
