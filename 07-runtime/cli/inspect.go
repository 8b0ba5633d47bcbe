package cli

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

// inspector returns what the daemon knows of one object, as it came.
type inspector func(name string) (json.RawMessage, error)

func (c *cli) inspectCommand() *cobra.Command {
	var kind string
	cmd := c.newInspectCommand("inspect [OPTIONS] NAME|ID [NAME|ID...]", "Return low-level information on containers and images",
		func(api requests) (inspector, error) {
			switch kind {
			case "":
				return func(name string) (json.RawMessage, error) {
					raw, err := api.container(name)
					if !errdefs.IsNotFound(err) {
						return raw, err
					}
					raw, err = api.image(name)
					if errdefs.IsNotFound(err) {
						err = fmt.Errorf("Error: No such object: %s", name)
					}
					return raw, err
				}, nil
			case "container":
				return api.container, nil
			case "image":
				return api.image, nil
			}
			return nil, &exitError{125, fmt.Sprintf("%q is not a valid value for --type: want container or image", kind)}
		})
	cmd.Flags().StringVar(&kind, "type", "", "Only inspect objects of this type, `container or image`")
	return cmd
}

func (c *cli) imageInspectCommand() *cobra.Command {
	return c.newInspectCommand("inspect [OPTIONS] IMAGE [IMAGE...]", "Display detailed information on one or more images",
		func(api requests) (inspector, error) { return api.image, nil })
}

func (c *cli) containerInspectCommand() *cobra.Command {
	return c.newInspectCommand("inspect [OPTIONS] CONTAINER [CONTAINER...]", "Display detailed information on one or more containers",
		func(api requests) (inspector, error) { return api.container, nil })
}

// requests are the two ways to ask.
type requests struct{ container, image inspector }

func (c *cli) newInspectCommand(use, short string, choose func(requests) (inspector, error)) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, api, err := c.api(cmd.Context())
			if err != nil {
				return err
			}
			inspect, err := choose(requests{
				container: func(name string) (json.RawMessage, error) {
					found, err := api.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
					return found.Raw, err
				},
				image: func(name string) (json.RawMessage, error) {
					var raw bytes.Buffer
					_, err := api.ImageInspect(ctx, name, client.ImageInspectWithRawResponse(&raw))
					return raw.Bytes(), err
				},
			})
			if err != nil {
				return err
			}
			found := []json.RawMessage{}
			var errs []error
			for _, name := range args {
				raw, err := inspect(name)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				found = append(found, raw)
			}
			if err := c.printObjects(found, format); err != nil {
				return err
			}
			for _, err := range errs {
				fmt.Fprintln(c.err, c.daemonError(err))
			}
			if errs != nil {
				return &exitError{status: 1}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "Format the output: 'json', or a Go template")
	return cmd
}

// printObjects prints found as one indented array, or each by the format. A
// template sees the fields by the names that the JSON has.
func (c *cli) printObjects(found []json.RawMessage, format string) error {
	if format == "" || format == "json" {
		encoded, err := json.Marshal(found)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if format == "" {
			err = json.Indent(&out, encoded, "", "    ")
		} else {
			out.Write(encoded)
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(c.out, out.String())
		return nil
	}
	var items []any
	for _, raw := range found {
		var item any
		dec := json.NewDecoder(bytes.NewReader(raw))
		// A large number stays what it is, and is no 1.6e+07.
		dec.UseNumber()
		if err := dec.Decode(&item); err != nil {
			return err
		}
		items = append(items, item)
	}
	return c.printEach(format, items)
}
