//go:build linux

package namespaces

import (
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	chroot "drydock.example/01-chroot"
	"drydock.example/01-chroot/hosttest"
)

// BenchmarkIsolate measures a container's whole life around /bin/true: ours;
// unshare(1), which is written in C, mounts one file system and keeps the
// host's root; and the floor, a bare clone into the same namespaces. It reports
// medians in milliseconds, and ours as a multiple of the others'.
func BenchmarkIsolate(b *testing.B) {
	hosttest.Require(b, hosttest.Root, hosttest.Program("unshare"))
	isolate, root := benchmarkRoot(b)
	compare(b, []candidate{
		{"isolate", func() *exec.Cmd { return exec.Command(isolate, root, "/bin/true") }},
		{"unshare", func() *exec.Cmd { return exec.Command("unshare", "-fpmuin", "--mount-proc", "/bin/true") }},
		{"clone", func() *exec.Cmd {
			cmd := exec.Command("/bin/true")
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET}
			return cmd
		}},
	})
}

// BenchmarkJoin measures /bin/true in a container that runs, beside nsenter(1).
func BenchmarkJoin(b *testing.B) {
	hosttest.Require(b, hosttest.Root, hosttest.Program("nsenter"))
	isolate, root := benchmarkRoot(b)
	spec := NewSpec(root, "/bin/cat")
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	p, err := Create(b.Context(), spec, Options{Stdin: r})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { p.Kill(); p.Wait() }()
	if err := p.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	compare(b, []candidate{
		{"isolate", func() *exec.Cmd { return exec.Command(isolate, "--join", itoa(p.Pid), "/bin/true") }},
		{"nsenter", func() *exec.Cmd {
			return exec.Command("nsenter", "-t", itoa(p.Pid), "-m", "-u", "-i", "-n", "-p", "-C", "/bin/true")
		}},
	})
}

type candidate struct {
	name    string
	command func() *exec.Cmd
}

// compare runs the candidates in turn.
func compare(b *testing.B, candidates []candidate) {
	times := map[string][]time.Duration{}
	for b.Loop() {
		for _, c := range candidates {
			cmd := c.command()
			started := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%s: %v: %s", c.name, err, out)
			}
			times[c.name] = append(times[c.name], time.Since(started))
		}
	}
	b.ReportMetric(0, "ns/op")
	median := func(name string) time.Duration { return slices.Sorted(slices.Values(times[name]))[len(times[name])/2] }
	for _, c := range candidates {
		b.ReportMetric(float64(median(c.name).Microseconds())/1000, c.name+"-ms")
		if c.name != candidates[0].name {
			b.ReportMetric(float64(median(candidates[0].name))/float64(median(c.name)), "ours/"+c.name)
		}
	}
}

// benchmarkRoot is the program isolate, and a root that holds true and cat.
func benchmarkRoot(b *testing.B) (isolate, root string) {
	b.Helper()
	root = b.TempDir()
	if err := chroot.Build(b.Context(), root, "/bin/true", "/bin/cat"); err != nil {
		b.Fatal(err)
	}
	return isolateProgram(b), root
}
