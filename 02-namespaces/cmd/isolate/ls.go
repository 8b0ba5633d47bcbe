//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"

	namespaces "drydock.example/02-namespaces"
)

// list writes who is in which namespace; with a process id, only the
// namespaces of that process.
func list(w io.Writer, args []string) error {
	pid := 0
	if len(args) > 0 {
		var err error
		if pid, err = strconv.Atoi(args[0]); err != nil || len(args) > 1 {
			return errUsage
		}
		if _, err := os.Stat("/proc/" + args[0]); err != nil {
			return err
		}
	}
	all, err := namespaces.List()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NS\tTYPE\tNPROCS\tPID\tCOMMAND")
	for _, ns := range all {
		if pid != 0 && !ns.Holds(pid) {
			continue
		}
		command := ns.Command
		if runes := []rune(command); len(runes) > 60 {
			command = string(runes[:59]) + "…"
		}
		fmt.Fprintf(table, "%d\t%s\t%d\t%d\t%s\n", ns.Inode, ns.Kind, ns.Processes, ns.Pid, command)
	}
	return table.Flush()
}
