//go:build linux

package oci_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/07-runtime/bundletest"
)

// candidates are ours and the other runtimes that are installed, on one bundle
// with the smallest program, and what each took.
type candidates struct {
	b        *testing.B
	dir      string
	state    string // of all runtimes, on a tmpfs: what /run is on most machines
	programs map[string]string
	times    map[string][]time.Duration
}

var runtimeNames = []string{"drydock-runtime", "crun", "runc"}

func newCandidates(b *testing.B) *candidates {
	hosttest.Require(b, hosttest.Root)
	hideSecondHierarchy(b)
	c := &candidates{b: b, dir: b.TempDir(), times: map[string][]time.Duration{}}
	c.state = b.TempDir()
	if err := unix.Mount("tmpfs", c.state, "tmpfs", 0, ""); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Unmount(c.state, 0) })
	bundletest.Rootfs(b, filepath.Join(c.dir, "rootfs"))
	c.programs = map[string]string{runtimeNames[0]: bundletest.Build(b, "cmd/drydock-runtime")}
	for _, name := range runtimeNames[1:] {
		if path, err := exec.LookPath(name); err == nil {
			c.programs[name] = path
		}
	}
	return c
}

// write writes the bundle's config, with a cgroup for each name.
func (c *candidates) write(cgroup string, args ...string) {
	spec := bundletest.Spec(hosttest.Cgroup() + "/" + cgroup)
	spec.Process.Args = args
	bundletest.Write(c.b, c.dir, spec)
}

func (c *candidates) command(name string, args ...string) *exec.Cmd {
	return exec.Command(c.programs[name], append([]string{"--root", filepath.Join(c.state, name)}, args...)...)
}

// time runs a command of each candidate in turn.
func (c *candidates) time(args ...string) {
	for _, name := range runtimeNames {
		if c.programs[name] == "" {
			continue
		}
		cmd, started := c.command(name, args...), time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			c.b.Fatalf("%s: %v: %s", name, err, out)
		}
		c.times[name] = append(c.times[name], time.Since(started))
	}
}

// report gives medians in milliseconds, and the others' as multiples of ours.
func (c *candidates) report() {
	c.b.ReportMetric(0, "ns/op")
	ours := median(c.times[runtimeNames[0]])
	for _, name := range runtimeNames {
		if t := c.times[name]; len(t) > 0 {
			c.b.ReportMetric(float64(median(t).Microseconds())/1000, name+"-ms")
			if name != runtimeNames[0] {
				c.b.ReportMetric(float64(median(t))/float64(ours), name+"/ours")
			}
		}
	}
}

// BenchmarkRun measures a container's whole life, from the runtime's start to
// its end with nothing left.
func BenchmarkRun(b *testing.B) {
	c := newCandidates(b)
	c.write("bench", "/bin/true")
	for i := 0; b.Loop(); i++ {
		c.time("run", "--bundle", c.dir, fmt.Sprint("bench-", i))
	}
	c.report()
}

// BenchmarkExec measures one more program in a container that runs.
func BenchmarkExec(b *testing.B) {
	c := newCandidates(b)
	for _, name := range runtimeNames {
		if c.programs[name] == "" {
			continue
		}
		c.write("bench-"+name, bundletest.Program, "sleep")
		// No output is asked for: the container would hold its pipe open.
		if err := c.command(name, "run", "--detach", "--bundle", c.dir, "bench").Run(); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		b.Cleanup(func() { c.command(name, "delete", "--force", "bench").Run() })
	}
	for b.Loop() {
		c.time("exec", "bench", "/bin/true")
	}
	c.report()
}

// BenchmarkFiveHundred starts 500 containers, has them all run at once, and
// deletes them; a few invocations at a time, as an engine would.
func BenchmarkFiveHundred(b *testing.B) {
	c := newCandidates(b)
	const all, atOnce = 500, 8
	each := func(do func(i int) error) time.Duration {
		started := time.Now()
		var work errgroup.Group
		work.SetLimit(atOnce)
		for i := range all {
			work.Go(func() error { return do(i) })
		}
		if err := work.Wait(); err != nil {
			b.Error(err)
		}
		return time.Since(started)
	}
	bundle := func(i int) string { return filepath.Join(c.dir, fmt.Sprint("bundle-", i)) }
	for i := range all {
		spec := bundletest.Spec(hosttest.Cgroup() + fmt.Sprint("/many-", i))
		spec.Root.Path, spec.Process.Args = filepath.Join(c.dir, "rootfs"), []string{bundletest.Program, "sleep"}
		if err := os.Mkdir(bundle(i), 0o755); err != nil {
			b.Fatal(err)
		}
		bundletest.Write(b, bundle(i), spec)
	}
	run := func(args ...string) error {
		if out, err := c.command(runtimeNames[0], args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", args, err, out)
		}
		return nil
	}
	for b.Loop() {
		start := each(func(i int) error {
			cmd := c.command(runtimeNames[0], "run", "--detach", "--bundle", bundle(i), fmt.Sprint("many-", i))
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("run %d: %w", i, err)
			}
			return nil
		})
		out, err := c.command(runtimeNames[0], "list").Output()
		if n := strings.Count(string(out), " running "); err != nil || n != all {
			b.Errorf("%d containers run, %v", n, err)
		}
		end := each(func(i int) error { return run("delete", "--force", fmt.Sprint("many-", i)) })
		b.ReportMetric(start.Seconds(), "start-s")
		b.ReportMetric(end.Seconds(), "delete-s")
	}
	b.ReportMetric(0, "ns/op")
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

// hideSecondHierarchy takes the v2 hierarchy of a hybrid host out of sight, for
// all candidates alike: crun refuses a host with both.
func hideSecondHierarchy(b *testing.B) {
	const unified = "/sys/fs/cgroup/unified"
	if err := unix.Unmount(unified, 0); err != nil {
		return // there is none
	}
	b.Cleanup(func() {
		if err := unix.Mount("cgroup2", unified, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			b.Error(err)
		}
	})
}
