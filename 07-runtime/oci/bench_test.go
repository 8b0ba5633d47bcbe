//go:build linux

package oci_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/07-runtime/bundletest"
)

// BenchmarkRun measures a container's whole life, from the runtime's start to
// its end with nothing left, of the smallest program: ours and the other
// runtimes that are installed, in turn, on one bundle. It reports medians in
// milliseconds, and the others' as multiples of ours.
func BenchmarkRun(b *testing.B) {
	hosttest.Require(b, hosttest.Root)
	hideSecondHierarchy(b)
	dir := b.TempDir()
	bundletest.Rootfs(b, filepath.Join(dir, "rootfs"))
	spec := bundletest.Spec(hosttest.Cgroup() + "/bench")
	spec.Process.Args = []string{"/bin/true"}
	bundletest.Write(b, dir, spec)

	names := []string{"drydock-runtime", "crun", "runc"}
	programs := map[string]string{names[0]: bundletest.Build(b, "cmd/drydock-runtime")}
	for _, name := range names[1:] {
		if path, err := exec.LookPath(name); err == nil {
			programs[name] = path
		}
	}
	times := map[string][]time.Duration{}
	for i := 0; b.Loop(); i++ {
		for _, name := range names {
			if programs[name] == "" {
				continue
			}
			c := exec.Command(programs[name], "--root", filepath.Join(dir, name), "run", "--bundle", dir, fmt.Sprint("bench-", i))
			started := time.Now()
			if out, err := c.CombinedOutput(); err != nil {
				b.Fatalf("%s: %v: %s", name, err, out)
			}
			times[name] = append(times[name], time.Since(started))
		}
	}
	b.ReportMetric(0, "ns/op")
	ours := median(times[names[0]])
	for _, name := range names {
		if t := times[name]; len(t) > 0 {
			b.ReportMetric(float64(median(t).Microseconds())/1000, name+"-ms")
			if name != names[0] {
				b.ReportMetric(float64(median(t))/float64(ours), name+"/ours")
			}
		}
	}
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
