//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

func list(_ context.Context, g *global, args []string) error {
	fs := options("list")
	var format string
	var quiet bool
	fs.StringVar(&format, "format", "table", "table or json")
	fs.StringVar(&format, "f", "table", "table or json")
	fs.BoolVar(&quiet, "quiet", false, "only the IDs")
	fs.BoolVar(&quiet, "q", false, "only the IDs")
	if _, err := parse(fs, args, "", 0, 0); err != nil {
		return err
	}
	states, err := g.List()
	if err != nil {
		return err
	}
	users := userNames()
	for i := range states {
		states[i].Owner = g.owner(states[i].ID, users)
	}
	switch {
	case quiet:
		for _, s := range states {
			fmt.Println(s.ID)
		}
		return nil
	case format == "json":
		return json.NewEncoder(os.Stdout).Encode(states)
	case format == "table":
		w := tabwriter.NewWriter(os.Stdout, 12, 1, 3, ' ', 0)
		fmt.Fprintln(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER")
		for _, s := range states {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.Pid, s.Status, s.Bundle, s.Created.Format(time.RFC3339Nano), s.Owner)
		}
		return w.Flush()
	}
	return errFormat
}

// owner names the user who made a container.
func (g *global) owner(id string, users map[string]string) string {
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(g.Root, id), &st); err != nil {
		return "" // deleted meanwhile
	}
	uid := strconv.Itoa(int(st.Uid))
	if name, ok := users[uid]; ok {
		return name
	}
	return "#" + uid
}
