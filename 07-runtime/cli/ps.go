package cli

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

// containerRow is one line of `ps`, by the names that --format knows.
type containerRow struct {
	ID, Image, Command, CreatedAt, RunningFor, Ports, State, Status, Names string
}

func (c *cli) psCommand() *cobra.Command {
	var all, quiet, noTrunc, latest bool
	var last int
	var format string
	var filter []string
	cmd := &cobra.Command{
		Use:   "ps [OPTIONS]",
		Short: "List containers",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			filters, err := parseFilters(filter)
			if err != nil {
				return err
			}
			options := client.ContainerListOptions{All: all, Filters: filters, Limit: max(last, 0)}
			if latest {
				options.Limit = 1
			}
			ctx, api, err := c.api(cmd.Context())
			if err != nil {
				return err
			}
			list, err := api.ContainerList(ctx, options)
			if err != nil {
				return err
			}
			var rows []containerRow
			for _, item := range list.Items {
				rows = append(rows, newContainerRow(item, noTrunc))
			}
			switch {
			case quiet:
				for _, row := range rows {
					fmt.Fprintln(c.out, row.ID)
				}
				return nil
			case format != "":
				return c.printEach(format, anys(rows))
			}
			var lines []string
			for _, r := range rows {
				lines = append(lines, strings.Join([]string{r.ID, r.Image, r.Command, r.RunningFor, r.Status, r.Ports, r.Names}, "\t"))
			}
			return c.table("CONTAINER ID\tIMAGE\tCOMMAND\tCREATED\tSTATUS\tPORTS\tNAMES", lines)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&all, "all", "a", false, "Show all containers (default shows just running)")
	flags.BoolVarP(&quiet, "quiet", "q", false, "Only display container IDs")
	flags.BoolVar(&noTrunc, "no-trunc", false, "Don't truncate output")
	flags.IntVarP(&last, "last", "n", -1, "Show n last created containers (includes all states)")
	flags.BoolVarP(&latest, "latest", "l", false, "Show the latest created container (includes all states)")
	flags.StringVar(&format, "format", "", "Format the output: 'json', or a Go template")
	flags.StringArrayVarP(&filter, "filter", "f", nil, "Show only what matches, as in 'status=exited'")
	return cmd
}

func newContainerRow(s container.Summary, noTrunc bool) containerRow {
	created := time.Unix(s.Created, 0)
	row := containerRow{
		ID: s.ID, Image: s.Image, Command: s.Command,
		CreatedAt:  created.String(),
		RunningFor: units.HumanDuration(time.Since(created)) + " ago",
		Ports:      ports(s.Ports), State: string(s.State), Status: s.Status,
	}
	if row.Image == "" {
		row.Image = "<no image>"
	}
	if !noTrunc {
		row.ID = shortID(s.ID)
		row.Command = ellipsis(s.Command, 20)
		if strings.HasPrefix(row.Image, "sha256:") {
			row.Image = shortID(row.Image)
		}
	}
	row.Command = strconv.Quote(row.Command)
	var names []string
	for _, name := range s.Names {
		names = append(names, strings.TrimPrefix(name, "/"))
	}
	row.Names = strings.Join(names, ",")
	return row
}

// ports shows each port as 0.0.0.0:8080->80/tcp, or 80/tcp when the host does
// not publish it. As docker does, it joins neighbours that have the same number
// outside to one range, and shows the others after them.
func ports(list []container.PortSummary) string {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b container.PortSummary) int {
		return cmp.Or(cmp.Compare(a.PrivatePort, b.PrivatePort), a.IP.Compare(b.IP), cmp.Compare(a.PublicPort, b.PublicPort), cmp.Compare(a.Type, b.Type))
	})
	type group struct {
		ip          netip.Addr
		proto       string
		first, last uint16
	}
	var groups []*group
	var others []string
	for _, p := range slices.Compact(list) {
		if p.IP.IsValid() && p.PublicPort != p.PrivatePort {
			others = append(others, fmt.Sprintf("%s->%d/%s", netip.AddrPortFrom(p.IP, p.PublicPort), p.PrivatePort, p.Type))
			continue
		}
		last := slices.IndexFunc(groups, func(g *group) bool { return g.ip == p.IP && g.proto == p.Type && g.last+1 == p.PrivatePort })
		if last >= 0 {
			groups[last].last = p.PrivatePort
			continue
		}
		groups = append(groups, &group{p.IP, p.Type, p.PrivatePort, p.PrivatePort})
	}
	var shown []string
	for _, g := range groups {
		number := strconv.Itoa(int(g.first))
		if g.last > g.first {
			number += "-" + strconv.Itoa(int(g.last))
		}
		if g.ip.IsValid() {
			number = net.JoinHostPort(g.ip.String(), number) + "->" + number
		}
		shown = append(shown, number+"/"+g.proto)
	}
	return strings.Join(append(shown, others...), ", ")
}
