//go:build linux

package images

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// BenchmarkPull measures a pull, from the program's start until the image could
// be run: ours, podman's and docker's, in turn, of one image from one registry,
// Debian's. The image has four layers like Debian's base system, 400 MB in
// 17,500 files. It reports medians in milliseconds, ours as a fraction of the
// others', and the largest memory that ours had, in MiB.
func BenchmarkPull(b *testing.B) {
	hosttest.Require(b, hosttest.Root)
	host := dockerRegistry(b)
	name := pushBenchImage(b, host)
	program := filepath.Join(b.TempDir(), "image")
	out, err := exec.Command("go", "build", "-o", program, "./cmd/image").CombinedOutput()
	if err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	roots := b.TempDir()
	root := ""
	peers := []puller{
		{"ours", func() *exec.Cmd {
			if root, err = os.MkdirTemp(roots, ""); err != nil {
				b.Fatal(err)
			}
			return exec.Command(program, "--root", root, "pull", name)
		}, func() *exec.Cmd { return exec.Command(program, "--root", root, "rm", name) }},
		podman(b, name),
		docker(b, name),
	}
	times := map[string][]time.Duration{}
	var peak int64 // bytes
	for b.Loop() {
		for _, p := range peers {
			if p.pull == nil {
				continue
			}
			cmd := p.pull()
			unix.Sync() // what others have left to write is not this one's
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			started := time.Now()
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
			used := make(chan int64, 1)
			if p.name == "ours" {
				go func() { used <- peakMemory(cmd.Process.Pid) }()
			}
			if err := cmd.Wait(); err != nil {
				b.Fatalf("%v: %v\n%s", cmd.Args, err, &out)
			}
			times[p.name] = append(times[p.name], time.Since(started))
			if p.name == "ours" {
				peak = max(peak, <-used)
			}
			if out, err := p.forget().CombinedOutput(); err != nil {
				b.Fatalf("%s: %v\n%s", p.name, err, out)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
	ours := median(times["ours"])
	for _, p := range peers {
		if t := times[p.name]; len(t) > 0 {
			b.ReportMetric(float64(median(t).Milliseconds()), p.name+"-ms")
			if p.name != "ours" {
				b.ReportMetric(float64(ours)/float64(median(t)), "ours/"+p.name)
			}
		}
	}
}

// peakMemory returns the most memory that a process has had until shortly before
// its end, in bytes. (What wait4 says of it begins with the memory of the
// process that started it, this one.)
func peakMemory(pid int) (peak int64) {
	for {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		_, after, ok := strings.Cut(string(status), "VmHWM:")
		if err != nil || !ok {
			return peak
		}
		var kib int64
		fmt.Sscan(after, &kib)
		peak = kib << 10
		time.Sleep(10 * time.Millisecond)
	}
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

// debianBlob is the layer of the Debian image that .ci/debian-image makes.
func debianBlob(b *testing.B) []byte {
	b.Helper()
	const dir = "/var/cache/drydock/debian/blobs/sha256"
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.Skipf("no Debian image here (.ci/debian-image makes it): %v", err)
	}
	largest := slices.MaxFunc(entries, func(x, y os.DirEntry) int {
		xi, _ := x.Info()
		yi, _ := y.Info()
		return int(xi.Size() - yi.Size())
	})
	blob, err := os.ReadFile(filepath.Join(dir, largest.Name()))
	if err != nil {
		b.Fatal(err)
	}
	return blob
}

// pushBenchImage sends an image of Debian's layer and three like it to the
// registry, and returns its name.
func pushBenchImage(b *testing.B, host string) string {
	b.Helper()
	blob := debianBlob(b)
	z, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		b.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		b.Fatal(err)
	}
	r := &testRegistry{t: b, host: host}
	layers := []layer{{ocispec.MediaTypeImageLayerGzip, plain, blob}}
	for i := range byte(3) {
		layers = append(layers, another(b, plain, i+1))
	}
	r.put("bench", "1", layers...)
	return host + "/bench:1"
}

// another is a layer as large and as compressible as the one in plain, without a byte in
// common with it, in a directory of its own.
func another(b *testing.B, plain []byte, shift byte) layer {
	b.Helper()
	var out, zipped bytes.Buffer
	from, to := tar.NewReader(bytes.NewReader(plain)), tar.NewWriter(&out)
	prefix := fmt.Sprintf("opt/%d/", shift)
	for {
		h, err := from.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			b.Fatal(err)
		}
		content, err := io.ReadAll(from)
		if err != nil {
			b.Fatal(err)
		}
		for i := range content {
			content[i] += shift
		}
		h.Name = prefix + strings.TrimPrefix(h.Name, "./")
		if h.Typeflag == tar.TypeLink {
			h.Linkname = prefix + strings.TrimPrefix(h.Linkname, "./")
		}
		h.Format = tar.FormatPAX
		if err := to.WriteHeader(h); err != nil {
			b.Fatal(err)
		}
		if _, err := to.Write(content); err != nil {
			b.Fatal(err)
		}
	}
	if err := to.Close(); err != nil {
		b.Fatal(err)
	}
	z := gzip.NewWriter(&zipped)
	z.Write(out.Bytes())
	z.Close()
	return layer{ocispec.MediaTypeImageLayerGzip, out.Bytes(), zipped.Bytes()}
}

// puller is a program that pulls an image. One that is not installed has no commands.
type puller struct {
	name   string
	pull   func() *exec.Cmd
	forget func() *exec.Cmd // removes what was pulled
}

// podman has storage of its own; it is no peer where it is not installed.
func podman(b *testing.B, image string) puller {
	program, err := exec.LookPath("podman")
	if err != nil {
		return puller{name: "podman"}
	}
	root := b.TempDir()
	run, err := os.MkdirTemp("/run", "podman") // it wants a short path
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		unix.Unmount(root+"/overlay", unix.MNT_DETACH)
		os.RemoveAll(run)
	})
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(program, append([]string{"--root", root, "--runroot", run, "--tmpdir", run + "/tmp", "--storage-driver", "overlay"}, args...)...)
		cmd.Env = append(os.Environ(), "DOCKER_CONFIG=") // it insists on a file where that is set
		return cmd
	}
	return puller{"podman",
		func() *exec.Cmd { return command("pull", "-q", "--tls-verify=false", image) },
		func() *exec.Cmd { return command("rmi", "-f", image) }}
}

// docker has a daemon with everything of its own; it is no peer where it is not
// installed.
func docker(b *testing.B, image string) puller {
	client, err := exec.LookPath("docker")
	if err != nil {
		return puller{name: "docker"}
	}
	daemon, err := exec.LookPath("dockerd")
	if err != nil {
		return puller{name: "docker"}
	}
	dir := b.TempDir()
	socket := "unix://" + dir + "/docker.sock"
	var log bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.Command(daemon, "--data-root", dir+"/data", "--exec-root", dir+"/exec", "-p", dir+"/pid", "-H", socket, "--bridge=none", "--iptables=false")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Signal(unix.SIGTERM)
		cmd.Wait()
		for _, path := range []string{"/exec/netns/default", "/data/overlay2", "/data"} {
			unix.Unmount(dir+path, unix.MNT_DETACH)
		}
		left, _ := filepath.Glob("/sys/fs/cgroup/*/docker")
		for _, path := range append(left, "/sys/fs/cgroup/docker") {
			unix.Rmdir(path)
		}
	})
	for exec.Command(client, "-H", socket, "version").Run() != nil {
		if pause(ctx, 50*time.Millisecond) != nil {
			b.Fatalf("dockerd does not answer:\n%s", log.String())
		}
	}
	return puller{"docker",
		func() *exec.Cmd { return exec.Command(client, "-H", socket, "pull", "-q", image) },
		func() *exec.Cmd { return exec.Command(client, "-H", socket, "rmi", "-f", image) }}
}
