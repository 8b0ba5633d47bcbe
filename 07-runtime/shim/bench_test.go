//go:build linux

package shim_test

import (
	"io"
	"slices"
	"testing"
	"time"

	"drydock.example/07-runtime/bundletest"
	"drydock.example/07-runtime/shim"
)

// BenchmarkLife measures what an engine waits for between a bundle and the
// exit status of the smallest program, in milliseconds (medians).
func BenchmarkLife(b *testing.B) {
	steps := []string{"create-ms", "start-ms", "exit-ms"}
	times := make([][]time.Duration, len(steps))
	runtime := bundletest.Build(b, "cmd/drydock-runtime")
	for b.Loop() {
		c := newContainer(b, runtime)
		c.Spec.Process.Args = []string{"/bin/true"}
		at := []time.Time{time.Now()}
		c.create()
		at = append(at, time.Now())
		conn := c.attach(shim.AttachOptions{Stdout: true, Stderr: true})
		c.start()
		at = append(at, time.Now())
		io.Copy(io.Discard, conn)
		c.wait()
		at = append(at, time.Now())
		for i := range steps {
			times[i] = append(times[i], at[i+1].Sub(at[i]))
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, step := range steps {
		b.ReportMetric(float64(slices.Sorted(slices.Values(times[i]))[len(times[i])/2].Microseconds())/1000, step)
	}
}
