//go:build linux

package cli_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkRun measures `run --rm IMAGE true` from the client's start to its
// end, with network and without: ours, docker's and podman's, in turn, of the
// same image from the same registry. It reports medians in milliseconds, and
// the others' as multiples of ours.
func BenchmarkRun(b *testing.B) {
	for _, network := range []string{"bridge", "none"} {
		b.Run("network="+network, func(b *testing.B) {
			h := newHarbour(b)
			bin, err := programs()
			if err != nil {
				b.Fatal(err)
			}
			engines := []struct {
				name    string
				command []string
			}{
				{"drydock", []string{filepath.Join(bin, "drydock"), "-H", h.daemon.host}},
				{"docker", dockerd(b)},
				{"podman", podman(b)},
			}
			times := map[string][]time.Duration{}
			for _, e := range engines {
				if e.command != nil {
					pull := append(slices.Clone(e.command), "pull", h.image)
					if e.name == "podman" {
						pull = append(slices.Clone(e.command), "pull", "--tls-verify=false", h.image)
					}
					h.must(pull[0], pull[1:]...)
				}
			}
			for b.Loop() {
				for _, e := range engines {
					if e.command == nil {
						continue
					}
					run := append(slices.Clone(e.command), "run", "--rm", "--network", network, h.image, "true")
					started := time.Now()
					h.must(run[0], run[1:]...)
					times[e.name] = append(times[e.name], time.Since(started))
				}
			}
			b.ReportMetric(0, "ns/op")
			ours := median(times["drydock"])
			for _, e := range engines {
				if t := times[e.name]; len(t) > 0 {
					b.ReportMetric(float64(median(t).Microseconds())/1000, e.name+"-ms")
					if e.name != "drydock" {
						b.ReportMetric(float64(median(t))/float64(ours), e.name+"/ours")
					}
				}
			}
		})
	}
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

// dockerd starts Docker's daemon with everything of its own and returns the
// client's command, or nil where Docker is not installed.
func dockerd(b *testing.B) []string {
	client, err := exec.LookPath("docker")
	if err != nil {
		return nil
	}
	daemon, err := exec.LookPath("dockerd")
	if err != nil {
		return nil
	}
	dir := b.TempDir()
	socket := "unix://" + dir + "/docker.sock"
	var log bytes.Buffer
	cmd := exec.Command(daemon, "--data-root", dir+"/data", "--exec-root", dir+"/exec", "-p", dir+"/pid", "-H", socket, "--bip", "172.31.77.1/24")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Signal(unix.SIGTERM)
		cmd.Wait()
		// Its overlay mounts and namespaces' files would keep the directory busy.
		for _, path := range []string{"/exec/netns/default", "/data/overlay2", "/data"} {
			unix.Unmount(dir+path, unix.MNT_DETACH)
		}
		removeCgroups("docker")
		exec.Command("ip", "link", "del", "docker0").Run()
		for _, table := range []string{"filter", "nat"} {
			exec.Command("nft", "delete", "table", "ip", table).Run()
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if exec.Command(client, "-H", socket, "version").Run() == nil {
			return []string{client, "-H", socket}
		}
		if time.Now().After(deadline) {
			b.Fatalf("dockerd does not answer:\n%s", log.String())
		}
	}
}

// podman returns podman's command with storage of its own, or nil.
func podman(b *testing.B) []string {
	program, err := exec.LookPath("podman")
	if err != nil {
		return nil
	}
	dir := b.TempDir()
	config := "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\nlog_driver = \"k8s-file\"\n[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n"
	if err := os.WriteFile(dir+"/containers.conf", []byte(config), 0o644); err != nil {
		b.Fatal(err)
	}
	b.Setenv("CONTAINERS_CONF", dir+"/containers.conf")
	// podman wants a short path for what dies with the machine.
	run, err := os.MkdirTemp("/run", "podman")
	if err != nil {
		b.Fatal(err)
	}
	command := []string{program, "--root", dir + "/root", "--runroot", run, "--tmpdir", run + "/tmp"}
	b.Cleanup(func() {
		exec.Command(command[0], append(command[1:], "rm", "-af")...).Run()
		unix.Unmount(dir+"/root/overlay", unix.MNT_DETACH)
		unix.Unmount("/run/netns", unix.MNT_DETACH)
		removeCgroups("libpod_parent/conmon", "libpod_parent")
		os.RemoveAll(run)
	})
	return command
}

// removeCgroups removes what the others leave, in every hierarchy.
func removeCgroups(paths ...string) {
	for _, path := range paths {
		left, _ := filepath.Glob("/sys/fs/cgroup/*/" + path)
		for _, dir := range append(left, "/sys/fs/cgroup/"+path) {
			unix.Rmdir(dir)
		}
	}
}
