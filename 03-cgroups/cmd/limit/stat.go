//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	cgroups "drydock.example/03-cgroups"
	"drydock.example/03-cgroups/cgroupfs"
	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
	"golang.org/x/sys/unix"
)

// stat shows the counters of the named running containers, or of all: once, or
// on a terminal again each second, until ctx ends or the last one has.
func stat(ctx context.Context, names []string) (int, error) {
	_, err := unix.IoctlGetTermios(int(os.Stdout.Fd()), unix.TCGETS)
	live := err == nil
	before := map[string]reading{}
	for {
		now, err := readings(names)
		if err != nil {
			return 1, err
		}
		if live {
			// To the first line and column, and clear from there on (console_codes(4)).
			fmt.Print("\x1b[H\x1b[J")
		}
		if err := table(os.Stdout, now, before); err != nil {
			return 1, err
		}
		if !live || len(now) == 0 {
			return 0, nil
		}
		for _, r := range now {
			before[r.name] = r
		}
		select {
		case <-ctx.Done():
			return 0, nil
		case <-time.After(time.Second):
		}
	}
}

// reading is one container's counters at a moment.
type reading struct {
	name     string
	at       time.Time
	stats    cgroups.Stats
	pressure string // of memory: the last ten seconds' share of lost time
}

// readings asks for the named containers, or without names for all that are
// there. A name that is not there is an error; one that ends meanwhile is not.
func readings(names []string) ([]reading, error) {
	all := len(names) == 0
	if all {
		var err error
		if names, err = running(); err != nil {
			return nil, err
		}
	}
	var rs []reading
	for _, name := range names {
		path, err := cgroupOf(name)
		if err != nil {
			return nil, err
		}
		c, err := cgroups.Load(path)
		if err == nil {
			r := reading{name: name, at: time.Now(), pressure: "not measured"}
			if r.stats, err = c.Stats(); err == nil {
				if p, err := c.Pressure(cgroups.Memory); err == nil {
					r.pressure = fmt.Sprintf("%.1f%%", p.Some.Avg10)
				}
				rs = append(rs, r)
			}
		}
		if err != nil && !(all && errdefs.IsNotFound(err)) {
			return nil, err
		}
	}
	return rs, nil
}

// running returns the names of limit's cgroups.
func running() ([]string, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("stat without a name shows all of root's: give names")
	}
	c, err := cgroups.Load(parent)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	paths := c.Paths()
	dir, ok := paths["pids"]
	if !ok {
		dir = paths[""]
	}
	children, err := cgroupfs.Children(dir)
	for i := range children {
		children[i] = filepath.Base(children[i])
	}
	slices.Sort(children)
	return children, err
}

// table prints a line for each container. The share of a CPU is that since the
// reading before; without one it is left open.
func table(w io.Writer, now []reading, before map[string]reading) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tMEMORY\tLIMIT\tPEAK\tLOST TO MEMORY\tOOM KILLS\tCPU\tCPU TIME\tTHROTTLED\tTASKS\tLIMIT")
	for _, r := range now {
		s, cpu := r.stats, "-"
		if b, ok := before[r.name]; ok {
			cpu = fmt.Sprintf("%.0f%%", 100*float64(s.CPU.Usage-b.stats.CPU.Usage)/float64(r.at.Sub(b.at)))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%v\t%v\t%d\t%s\n", r.name, size(s.Memory.Usage), size(s.Memory.Limit), size(s.Memory.Peak), r.pressure, s.Memory.OOMKills,
			cpu, round(s.CPU.Usage), round(s.CPU.ThrottledTime), s.Pids.Current, count(s.Pids.Limit))
	}
	return t.Flush()
}

// show prints the counters at the end of a run.
func show(w io.Writer, s cgroups.Stats) {
	fmt.Fprintf(w, "memory  %s now, %s at most, limit %s; OOM kills %d\n", size(s.Memory.Usage), size(s.Memory.Peak), size(s.Memory.Limit), s.Memory.OOMKills)
	fmt.Fprintf(w, "cpu     %v used; throttled in %d of %d periods, for %v\n", round(s.CPU.Usage), s.CPU.Throttled, s.CPU.Periods, round(s.CPU.ThrottledTime))
	fmt.Fprintf(w, "tasks   %d now, limit %s; forks refused %d\n", s.Pids.Current, count(s.Pids.Limit), s.Pids.Failures)
}

func size(n uint64) string {
	if n == cgroups.NoLimit {
		return "no limit"
	}
	return units.BytesSize(float64(n))
}

func count(n uint64) string {
	if n == cgroups.NoLimit {
		return "no limit"
	}
	return strconv.FormatUint(n, 10)
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
