//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	cgroups "drydock.example/03-cgroups"
	"github.com/docker/go-units"
)

// stat shows the counters of a running container.
func stat(args []string) (int, error) {
	if len(args) != 1 {
		return 2, errors.New("stat takes one name, that of limit --name")
	}
	cgroup, err := cgroups.Load("/drydock/" + args[0])
	if err != nil {
		return 1, err
	}
	s, err := cgroup.Stats()
	if err != nil {
		return 1, err
	}
	show(os.Stdout, s)
	return 0, nil
}

func show(w io.Writer, s cgroups.Stats) {
	size := func(n uint64) string {
		if n == cgroups.NoLimit {
			return "no limit"
		}
		return units.BytesSize(float64(n))
	}
	tasks := "no limit"
	if s.Pids.Limit != cgroups.NoLimit {
		tasks = strconv.FormatUint(s.Pids.Limit, 10)
	}
	round := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	fmt.Fprintf(w, "memory  %s now, %s at most, limit %s; OOM kills %d\n", size(s.Memory.Usage), size(s.Memory.Peak), size(s.Memory.Limit), s.Memory.OOMKills)
	fmt.Fprintf(w, "cpu     %v used; throttled in %d of %d periods, for %v\n", round(s.CPU.Usage), s.CPU.Throttled, s.CPU.Periods, round(s.CPU.ThrottledTime))
	fmt.Fprintf(w, "tasks   %d now, limit %s; forks refused %d\n", s.Pids.Current, tasks, s.Pids.Failures)
}
