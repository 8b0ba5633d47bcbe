package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/docker/go-units"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func (c *cli) infoCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "info [OPTIONS]",
		Short: "Display what the daemon says of itself and its host",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, api, err := c.api(cmd.Context())
			if err != nil {
				return err
			}
			result, err := api.Info(ctx, client.InfoOptions{})
			if err != nil {
				return err
			}
			info := result.Info
			if format != "" {
				return c.printEach(format, []any{info})
			}
			w := tabwriter.NewWriter(c.out, 0, 1, 1, ' ', 0)
			line := func(name string, value any) { fmt.Fprintf(w, " %s:\t%v\n", name, value) }
			fmt.Fprintln(w, "Server:")
			line("Containers", info.Containers)
			line(" Running", info.ContainersRunning)
			line(" Stopped", info.ContainersStopped)
			line("Images", info.Images)
			line("Server Version", info.ServerVersion)
			line("Storage Driver", info.Driver)
			line("Cgroup Driver", info.CgroupDriver)
			line("Cgroup Version", info.CgroupVersion)
			line("Default Runtime", info.DefaultRuntime)
			line("Kernel Version", info.KernelVersion)
			line("Operating System", info.OperatingSystem)
			line("OSType", info.OSType)
			line("Architecture", info.Architecture)
			line("CPUs", info.NCPU)
			line("Total Memory", units.BytesSize(float64(info.MemTotal)))
			line("Name", info.Name)
			line("Drydock Root Dir", info.DockerRootDir)
			if err := w.Flush(); err != nil {
				return err
			}
			for _, warning := range info.Warnings {
				fmt.Fprintln(c.err, warning)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "Format the output: 'json', or a Go template")
	return cmd
}
