package cli

import (
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

// versions is what `version --format` can show.
type versions struct {
	Client clientVersion
	Server *client.ServerVersionResult `json:",omitempty"`
}

type clientVersion struct {
	Version    string
	APIVersion string `json:"ApiVersion"`
	GoVersion  string
	Os, Arch   string
}

func (c *cli) versionCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "version [OPTIONS]",
		Short: "Show the Drydock version information of client and server",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, api, err := c.api(cmd.Context())
			if err != nil {
				return err
			}
			v := versions{Client: clientVersion{
				Version: c.version, APIVersion: api.ClientVersion(), GoVersion: runtime.Version(),
				Os: runtime.GOOS, Arch: runtime.GOARCH,
			}}
			server, err := api.ServerVersion(ctx, client.ServerVersionOptions{})
			if err == nil {
				v.Server = &server
			}
			// Without a server the client's half is still an answer.
			if format != "" {
				if ferr := c.printEach(format, []any{v}); ferr != nil && err == nil {
					err = ferr
				}
				return err
			}
			printVersions(c.out, v)
			return err
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "Format the output: 'json', or a Go template")
	return cmd
}

func printVersions(out io.Writer, v versions) {
	w := tabwriter.NewWriter(out, 0, 1, 1, ' ', 0)
	defer w.Flush()
	fmt.Fprintf(w, "Client: Drydock\n Version:\t%s\n API version:\t%s\n Go version:\t%s\n OS/Arch:\t%s/%s\n",
		v.Client.Version, v.Client.APIVersion, v.Client.GoVersion, v.Client.Os, v.Client.Arch)
	if v.Server == nil {
		return
	}
	w.Flush()
	fmt.Fprintf(w, "\nServer: %s\n Engine:\n  Version:\t%s\n  API version:\t%s (minimum version %s)\n",
		v.Server.Platform.Name, v.Server.Version, v.Server.APIVersion, v.Server.MinAPIVersion)
	for _, component := range v.Server.Components {
		if component.Name == "Engine" && component.Details["GoVersion"] != "" {
			fmt.Fprintf(w, "  Go version:\t%s\n", component.Details["GoVersion"])
		}
	}
	fmt.Fprintf(w, "  OS/Arch:\t%s/%s\n", v.Server.Os, v.Server.Arch)
	for _, component := range v.Server.Components {
		if component.Name != "Engine" {
			fmt.Fprintf(w, " %s:\n  Version:\t%s\n", component.Name, component.Version)
		}
	}
}
