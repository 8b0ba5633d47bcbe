//go:build linux

package oci_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/07-runtime/bundletest"
)

// newDockerd is Debian's dockerd, with everything of its own in directories of
// the test, our program as one of its runtimes, and an image.
func newDockerd(t *testing.T, image string) *engine {
	t.Helper()
	hosttest.Require(t, hosttest.Root, hosttest.Program("dockerd"), hosttest.Program("docker"), hosttest.Program("containerd-shim-runc-v2"))
	dir := t.TempDir()
	run, err := os.MkdirTemp("/run", "dkd") // a short path, and sockets' names are short
	if err != nil {
		t.Fatal(err)
	}
	parent := hosttest.Cgroup() + "/dockerd"
	daemon := exec.Command("dockerd", "--data-root", dir+"/data", "--exec-root", run+"/exec", "--pidfile", run+"/pid", "--host", "unix://"+run+"/s",
		"--bridge", "none", "--iptables=false", "--ip-masq=false", "--storage-driver", "vfs", "--cgroup-parent", parent,
		"--add-runtime", "drydock="+bundletest.Build(t, "cmd/drydock-runtime"))
	var log bytes.Buffer
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	e := &engine{t: t, command: []string{"docker", "--host", "unix://" + run + "/s"}, env: []string{"DOCKER_CONFIG=" + dir}}
	t.Cleanup(func() {
		if all, status := e.ask("ps", "--all", "--quiet"); status == 0 && strings.TrimSpace(all) != "" {
			e.ask(append([]string{"rm", "--force"}, strings.Fields(all)...)...)
		}
		daemon.Process.Signal(unix.SIGTERM)
		daemon.Wait()
		unix.Unmount(run+"/exec/netns/default", unix.MNT_DETACH)
		os.RemoveAll(run)
		removeCgroups(parent)
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, status := e.ask("version"); status == 0 {
			break
		} else if time.Now().After(deadline) {
			t.Fatal("dockerd does not answer")
		}
	}
	rootfs := filepath.Join(dir, "rootfs")
	bundletest.Rootfs(t, rootfs)
	archive := filepath.Join(dir, "rootfs.tar")
	if out, err := exec.Command("tar", "-C", rootfs, "-cf", archive, ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	e.must("sha256:", "import", archive, image)
	return e
}

// TestDockerd runs Docker's verbs on containers that our program has made.
func TestDockerd(t *testing.T) {
	t.Parallel()
	e := newDockerd(t, "program")
	with := func(first ...string) []string {
		return append(append([]string{"run", "--runtime", "drydock", "--network", "none"}, first...), "program", bundletest.Program)
	}
	e.must("hello\n", append(with("--rm"), "echo", "hello")...)
	if out, status := e.ask(append(with("--rm"), "exit", "42")...); status != 42 {
		t.Errorf("status %d: %s", status, out)
	}
	if out, status := e.ask("run", "--runtime", "drydock", "--network", "none", "--rm", "program", "no-such-program"); status != 127 || !strings.Contains(out, "executable file not found in $PATH") {
		t.Errorf("a program that is not there: status %d: %s", status, out)
	}
	e.must("", append(with("-d", "--name", "service", "--memory", "64m", "--memory-swap", "64m", "--pids-limit", "50"), "signals")...)
	e.must("drydock\n", "inspect", "--format", "{{.HostConfig.Runtime}}", "service")
	e.must("inside\n", "exec", "service", bundletest.Program, "echo", "inside")
	e.must("A=b\n", "exec", "--env", "A=b", "service", bundletest.Program, "env")
	if out, status := e.ask("exec", "service", bundletest.Program, "exit", "7"); status != 7 {
		t.Errorf("exec: status %d: %s", status, out)
	}
	if exec.Command("ps", "-ef").Run() == nil { // which is whom dockerd asks
		e.must("program", "top", "service")
	}
	e.must("64MiB", "stats", "--no-stream", "service")
	e.must("", "update", "--memory", "80m", "--memory-swap", "80m", "service")
	e.must("80MiB", "stats", "--no-stream", "service")
	e.must("", "pause", "service")
	e.must("paused\n", "inspect", "--format", "{{.State.Status}}", "service")
	e.must("", "unpause", "service")
	e.must("", "kill", "--signal", "USR1", "service")
	e.must("", "restart", "--time", "10", "service")
	e.must("", "stop", "--time", "10", "service")
	e.must("exited 7\n", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "service")
	if logs := e.must("SIGUSR1\n", "logs", "service"); strings.Count(logs, "SIGTERM\n") != 2 {
		t.Errorf("logs: %s, want both of its lives in it", logs)
	}
	e.must("service", "rm", "service")
}
