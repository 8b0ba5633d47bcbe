package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

// imageRow is one line of `images`, by the names that --format knows.
type imageRow struct {
	Repository, Tag, Digest, ID, CreatedSince, CreatedAt, Size string
}

func (c *cli) imagesCommand() *cobra.Command {
	var all, quiet, noTrunc, digests bool
	var format string
	var filter []string
	cmd := &cobra.Command{
		Use:   "images [OPTIONS] [REPOSITORY[:TAG]]",
		Short: "List images",
		Args:  atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			filters, err := parseFilters(filter)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				filters = filters.Add("reference", args[0])
			}
			ctx, api, err := c.api(cmd.Context())
			if err != nil {
				return err
			}
			list, err := api.ImageList(ctx, client.ImageListOptions{All: all, Filters: filters})
			if err != nil {
				return err
			}
			slices.SortStableFunc(list.Items, func(a, b image.Summary) int { return int(b.Created - a.Created) })
			rows := imageRows(list.Items, noTrunc)
			switch {
			case quiet:
				// One image under two names is one line.
				seen := map[string]bool{}
				for _, row := range rows {
					if !seen[row.ID] {
						fmt.Fprintln(c.out, row.ID)
					}
					seen[row.ID] = true
				}
				return nil
			case format != "":
				return c.printEach(format, anys(rows))
			}
			return c.imageTable(rows, digests)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&all, "all", "a", false, "Show all images, also those without a name")
	flags.BoolVarP(&quiet, "quiet", "q", false, "Only show image IDs")
	flags.BoolVar(&noTrunc, "no-trunc", false, "Don't truncate output")
	flags.BoolVar(&digests, "digests", false, "Show digests")
	flags.StringVar(&format, "format", "", "Format the output: 'json', or a Go template")
	flags.StringArrayVarP(&filter, "filter", "f", nil, "Show only what matches, as in 'reference=debian'")
	return cmd
}

func (c *cli) imageTable(rows []imageRow, digests bool) error {
	header := "REPOSITORY\tTAG\tIMAGE ID\tCREATED\tSIZE"
	if digests {
		header = "REPOSITORY\tTAG\tDIGEST\tIMAGE ID\tCREATED\tSIZE"
	}
	var lines []string
	for _, row := range rows {
		cells := []string{row.Repository, row.Tag, row.ID, row.CreatedSince, row.Size}
		if digests {
			cells = slices.Insert(cells, 2, row.Digest)
		}
		lines = append(lines, strings.Join(cells, "\t"))
	}
	return c.table(header, lines)
}

// imageRows returns a row for each name of each image.
func imageRows(images []image.Summary, noTrunc bool) []imageRow {
	var rows []imageRow
	for _, img := range images {
		created := time.Unix(img.Created, 0)
		row := imageRow{
			Repository: "<none>", Tag: "<none>", Digest: "<none>", ID: img.ID,
			CreatedSince: "N/A", CreatedAt: "N/A",
			Size: units.HumanSizeWithPrecision(float64(img.Size), 3),
		}
		if img.Created > 0 {
			row.CreatedSince, row.CreatedAt = units.HumanDuration(time.Since(created))+" ago", created.String()
		}
		if !noTrunc {
			row.ID = shortID(img.ID)
		}
		digestOf := map[string]string{}
		for _, name := range img.RepoDigests {
			if repository, digest, ok := strings.Cut(name, "@"); ok {
				digestOf[repository] = digest
			}
		}
		if len(img.RepoTags) == 0 {
			for repository, digest := range digestOf {
				row.Repository, row.Digest = repository, digest
			}
			rows = append(rows, row)
		}
		for _, name := range img.RepoTags {
			// The last colon: a registry's port has one, too.
			if i := strings.LastIndexByte(name, ':'); i >= 0 {
				row.Repository, row.Tag = name[:i], name[i+1:]
			}
			row.Digest = "<none>"
			if digest, ok := digestOf[row.Repository]; ok {
				row.Digest = digest
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// parseFilters turns KEY=VALUE into the API's filters.
func parseFilters(args []string) (client.Filters, error) {
	filters := client.Filters{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, &exitError{125, fmt.Sprintf("invalid argument %q for \"-f, --filter\" flag: want KEY=VALUE, as in status=exited", arg)}
		}
		filters.Add(strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value))
	}
	return filters, nil
}

func anys[T any](list []T) []any {
	out := make([]any, len(list))
	for i, item := range list {
		out[i] = item
	}
	return out
}
