//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
)

func ps(_ context.Context, g *global, args []string) error {
	fs := options("ps")
	var format string
	fs.StringVar(&format, "format", "table", "table or json")
	fs.StringVar(&format, "f", "table", "table or json")
	rest, err := parse(fs, args, "<container-id>", 1, 1)
	if err != nil {
		return err
	}
	pids, err := g.Processes(rest[0])
	if err != nil {
		return err
	}
	switch format {
	case "json":
		return json.NewEncoder(os.Stdout).Encode(pids)
	case "table":
		w := tabwriter.NewWriter(os.Stdout, 8, 1, 3, ' ', 0)
		fmt.Fprintln(w, "PID\tPPID\tCMD")
		for _, pid := range pids {
			parent, command := describe(pid)
			fmt.Fprintf(w, "%d\t%s\t%s\n", pid, parent, command)
		}
		return w.Flush()
	}
	return fmt.Errorf("--format %q: want table or json", format)
}

// describe returns a process's parent and command line (proc(5)).
func describe(pid int) (parent, command string) {
	dir := "/proc/" + strconv.Itoa(pid)
	if b, err := os.ReadFile(dir + "/stat"); err == nil {
		if f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]); len(f) > 1 {
			parent = string(f[1])
		}
	}
	b, _ := os.ReadFile(dir + "/cmdline")
	return parent, strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
}
