//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	cgroups "drydock.example/03-cgroups"
	"drydock.example/03-cgroups/plot"
	"github.com/docker/go-units"
)

// interval is the time between two measurements: short enough to see the
// pauses within a period of 100 ms.
const interval = 10 * time.Millisecond

// course is what was measured while a program ran.
type course struct {
	span        time.Duration
	memory, cpu []plot.Point // bytes; CPUs in use
	marks       []plot.Mark
	last        cgroups.Stats
}

// record measures c until the returned function is called.
func record(ctx context.Context, c *cgroups.Cgroup) (end func() (course, error), err error) {
	ctx, cancel := context.WithCancel(ctx)
	events, err := c.Events(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	began := time.Now()
	var made course
	var failed error
	measure := func() {
		s, err := c.Stats()
		if err != nil {
			failed = err
			return
		}
		now := time.Since(began)
		if spent := now - made.span; spent > 0 && len(made.memory) > 0 {
			made.cpu = append(made.cpu, plot.Point{At: now, Value: float64(s.CPU.Usage-made.last.CPU.Usage) / float64(spent)})
		}
		made.memory = append(made.memory, plot.Point{At: now, Value: float64(s.Memory.Usage)})
		made.span, made.last = now, s
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for measure(); ; {
			select {
			case <-ctx.Done():
				measure()
				return
			case <-tick.C:
				measure()
			case e, ok := <-events:
				if !ok {
					events = nil
				} else if e.Kind == cgroups.OOM {
					made.marks = append(made.marks, plot.Mark{At: time.Since(began), Text: "out of memory"})
				}
			}
		}
	}()
	return func() (course, error) {
		cancel()
		<-done
		// The program may be dead before its event has been received.
		if len(made.marks) == 0 && made.last.Memory.OOMKills > 0 {
			made.marks = append(made.marks, plot.Mark{At: made.span, Text: "out of memory"})
		}
		return made, failed
	}, nil
}

// draw writes the picture of a run to a file.
func draw(file string, o options, args []string, c course) (err error) {
	memory := plot.Panel{
		Name: "memory", Format: func(v float64) string { return units.BytesSize(v) },
		Lines: []plot.Line{{Name: fmt.Sprintf("in use, %s at most", units.BytesSize(float64(c.last.Memory.Peak))), Points: c.memory}},
		Marks: c.marks,
	}
	if o.memory != "" {
		memory.Limit = float64(c.last.Memory.Limit)
	}
	cpu := plot.Panel{
		Name: "CPUs", Format: func(v float64) string { return fmt.Sprintf("%.2f", v) },
		Lines: []plot.Line{{Name: fmt.Sprintf("in use, throttled in %d of %d periods", c.last.CPU.Throttled, c.last.CPU.Periods), Points: c.cpu}},
	}
	if r, err := o.resources(); err == nil && r.CPU != nil {
		cpu.Limit = float64(*r.CPU.Quota) / cpuPeriod
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	return plot.SVG(f, plot.Picture{Title: strings.Join(args, " "), Span: c.span, Panels: []plot.Panel{memory, cpu}})
}
