package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func (c *cli) createCommand() *cobra.Command {
	var flags containerFlags
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Create a new container",
		Args:  atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := flags.options(args, cmd.Flags())
			if err != nil {
				return err
			}
			id, err := c.create(cmd.Context(), options, &flags)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, id)
			return nil
		},
	}
	flags.add(cmd.Flags())
	addHelp(cmd)
	return cmd
}

// create has the daemon create the container, after having pulled the image
// where that is needed. The image is asked for by the create itself: mostly it is there.
func (c *cli) create(ctx context.Context, options client.ContainerCreateOptions, flags *containerFlags) (id string, err error) {
	if options.Config.Image == "" {
		return "", errors.New("invalid reference format: the image's name is empty")
	}
	if flags.cidFile != "" {
		file, err := newCIDFile(flags.cidFile)
		if err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, file.write(id)) }()
	}
	if flags.pull == "always" {
		if err := c.pullFor(ctx, options, flags); err != nil {
			return "", err
		}
	}
	reqCtx, api, err := c.api(ctx)
	if err != nil {
		return "", err
	}
	created, err := api.ContainerCreate(reqCtx, options)
	// Not every "not found" is the image's: a network or a volume may be missing.
	if errdefs.IsNotFound(err) && flags.pull == "missing" {
		ref, perr := parseReference(options.Config.Image)
		if perr != nil {
			return "", err // An ID of no image.
		}
		fmt.Fprintf(c.err, "Unable to find image '%s' locally\n", reference.FamiliarString(reference.TagNameOnly(ref)))
		if err := c.pullFor(ctx, options, flags); err != nil {
			return "", err
		}
		created, err = api.ContainerCreate(reqCtx, options)
	}
	if err != nil {
		return "", err
	}
	for _, warning := range created.Warnings {
		fmt.Fprintln(c.err, "WARNING:", warning)
	}
	return created.ID, nil
}

// pullFor pulls the container's image. Its progress goes to stderr: stdout is the container's.
func (c *cli) pullFor(ctx context.Context, options client.ContainerCreateOptions, flags *containerFlags) error {
	ref, err := parseReference(options.Config.Image)
	if err != nil {
		return err
	}
	out := io.Writer(c.err)
	if flags.quiet {
		out = io.Discard
	}
	return c.pull(ctx, reference.TagNameOnly(ref), flags.platform, out)
}

// cidFile holds the ID of the container that is being created. It is made first:
// an old one says that another container may still be there.
type cidFile struct{ f *os.File }

func newCIDFile(path string) (*cidFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("container ID file found, make sure the other container isn't running or delete %s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to create the container ID file: %w", err)
	}
	return &cidFile{f}, nil
}

// write writes the ID, or takes the file away when there is none.
func (c *cidFile) write(id string) error {
	_, err := c.f.WriteString(id)
	err = errors.Join(err, c.f.Close())
	if id == "" {
		err = errors.Join(err, os.Remove(c.f.Name()))
	}
	if err != nil {
		return fmt.Errorf("failed to write the container ID to the file: %w", err)
	}
	return nil
}

// addHelp adds --help without a short form: -h is a container's host name.
func addHelp(cmd *cobra.Command) {
	cmd.Flags().Bool("help", false, "Print usage")
}
