package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/jsonmessage"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	images "drydock.example/06-images"
)

func (c *cli) pullCommand() *cobra.Command {
	var quiet bool
	var platform string
	cmd := &cobra.Command{
		Use:   "pull [OPTIONS] NAME[:TAG|@DIGEST]",
		Short: "Download an image from a registry",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseReference(args[0])
			if err != nil {
				return err
			}
			out := io.Writer(c.out)
			if quiet {
				out = io.Discard
			}
			if reference.IsNameOnly(ref) {
				ref = reference.TagNameOnly(ref)
				fmt.Fprintln(out, "Using default tag: latest")
			}
			if err := c.pull(cmd.Context(), ref, platform, out); err != nil {
				return err
			}
			fmt.Fprintln(c.out, ref)
			return nil
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Suppress verbose output")
	cmd.Flags().StringVar(&platform, "platform", "", "Pull the image for this `OS/ARCH[/VARIANT]`")
	return cmd
}

// pull has the daemon pull ref and shows its progress on out: several lines that
// change on a terminal, else a line for each step.
func (c *cli) pull(ctx context.Context, ref reference.Named, platform string, out io.Writer) error {
	var options client.ImagePullOptions
	if platform != "" {
		p, err := parsePlatform(platform)
		if err != nil {
			return err
		}
		options.Platforms = []ocispec.Platform{p}
	}
	var err error
	if options.RegistryAuth, err = registryAuth(ctx, ref); err != nil {
		return err
	}
	ctx, api, err := c.api(ctx)
	if err != nil {
		return err
	}
	stream, err := api.ImagePull(ctx, ref.String(), options)
	if err != nil {
		return err
	}
	defer stream.Close()
	return jsonmessage.DisplayMessages(stream.JSONMessages(ctx), out)
}

// registryAuth is what the user has stored, by docker login, for the registry of
// ref, as the daemon takes it. Only the client knows it: the daemon has no user.
func registryAuth(ctx context.Context, ref reference.Named) (string, error) {
	c, err := images.DockerCredentials(ctx, reference.Domain(ref))
	if err != nil || c == (images.Credentials{}) {
		return "", err
	}
	return authconfig.Encode(registry.AuthConfig{
		Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken,
	})
}

// parseReference completes name as docker does: Docker Hub where no registry is
// named.
func parseReference(name string) (reference.Named, error) {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, fmt.Errorf("invalid reference format: %q: %w", name, err)
	}
	return ref, nil
}

// parsePlatform reads OS/ARCH[/VARIANT].
func parsePlatform(s string) (ocispec.Platform, error) {
	parts := strings.Split(strings.ToLower(s), "/")
	if len(parts) < 2 || len(parts) > 3 || strings.Contains("/"+strings.Join(parts, "/")+"/", "//") {
		return ocispec.Platform{}, &exitError{125, fmt.Sprintf("invalid argument %q for \"--platform\" flag: want OS/ARCH[/VARIANT], as in linux/arm64", s)}
	}
	p := ocispec.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}
