//go:build linux

package oci_test

import (
	"bytes"
	"fmt"
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

// engine is another project's engine that is told to use our runtime.
type engine struct {
	t       *testing.T
	command []string
	env     []string
}

// ask runs the engine's client, and returns what it printed and its status.
func (e *engine) ask(args ...string) (string, int) {
	e.t.Helper()
	c := exec.Command(e.command[0], append(append([]string{}, e.command[1:]...), args...)...)
	c.Env = append(os.Environ(), e.env...)
	out, _ := c.CombinedOutput()
	return string(out), c.ProcessState.ExitCode()
}

// must is ask for what must succeed and print the words.
func (e *engine) must(words string, args ...string) string {
	e.t.Helper()
	out, status := e.ask(args...)
	if status != 0 || !strings.Contains(out, words) {
		e.t.Fatalf("%v: status %d: %s, want %q", args, status, out, words)
	}
	return out
}

// TestPodman is Debian's podman with everything of its own in directories of
// the test, and a root file system in place of an image.
func TestPodman(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Program("podman"), hosttest.Program("conmon"))
	dir := t.TempDir()
	bundletest.Rootfs(t, dir+"/rootfs")
	config := "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\nlog_driver = \"k8s-file\"\n[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n"
	if err := os.WriteFile(dir+"/containers.conf", []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	run, err := os.MkdirTemp("/run", "podman") // it wants a short path
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{t: t, env: []string{"CONTAINERS_CONF=" + dir + "/containers.conf"}, command: []string{
		"podman", "--root", dir + "/root", "--runroot", run, "--tmpdir", run + "/tmp", "--runtime", bundletest.Build(t, "cmd/drydock-runtime"),
	}}
	parent := hosttest.Cgroup() + "/podman"
	t.Cleanup(func() {
		e.ask("rm", "-af")
		unix.Unmount(dir+"/root/overlay", unix.MNT_DETACH)
		os.RemoveAll(run)
		removeCgroups(parent+"/conmon", parent, "/libpod_parent/conmon", "/libpod_parent")
	})
	options := []string{"--network", "none", "--cgroup-parent", parent, "--rootfs", dir + "/rootfs"}
	with := func(first ...string) []string { return append(first, options...) }

	e.must("hello\n", append(with("run", "--rm"), bundletest.Program, "echo", "hello")...)
	if out, status := e.ask(append(with("run", "--rm"), bundletest.Program, "exit", "42")...); status != 42 {
		t.Errorf("status %d: %s", status, out)
	}
	if out, status := e.ask(append(with("run", "--rm"), "no-such-program")...); status != 127 {
		t.Errorf("a program that is not there: status %d: %s", status, out)
	}
	e.must("", append(with("run", "-d", "--name", "sleeper", "--memory", "64m", "--pids-limit", "50"), bundletest.Program, "sleep")...)
	e.must("inside\n", "exec", "sleeper", bundletest.Program, "echo", "inside")
	e.must("A=b\n", "exec", "--env", "A=b", "sleeper", bundletest.Program, "env")
	if out, status := e.ask("exec", "sleeper", bundletest.Program, "exit", "7"); status != 7 {
		t.Errorf("exec: status %d: %s", status, out)
	}
	e.must("program", "top", "sleeper")
	e.must("67.11MB", "stats", "--no-stream", "sleeper")
	e.must("", "pause", "sleeper")
	e.must("paused\n", "inspect", "--format", "{{.State.Status}}", "sleeper")
	e.must("", "unpause", "sleeper")
	e.must("", "kill", "sleeper")
	e.must("137\n", "wait", "sleeper")
	e.must("sleeper", "rm", "sleeper")
}

// TestContainerd is Debian's containerd, whose shim for runc is told to use
// our program in runc's place.
func TestContainerd(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Program("containerd"), hosttest.Program("ctr"), hosttest.Program("containerd-shim-runc-v2"))
	dir := t.TempDir()
	bundletest.Rootfs(t, dir+"/rootfs")
	run, err := os.MkdirTemp("/run", "ctd")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.snapshotter.v1.zfs\"]\n[grpc]\naddress = %q\n", dir+"/root", run+"/state", run+"/s")
	if err := os.WriteFile(dir+"/config.toml", []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command("containerd", "--config", dir+"/config.toml")
	var log bytes.Buffer
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	parent := hosttest.Cgroup() + "/containerd"
	e := &engine{t: t, command: []string{"ctr", "--address", run + "/s"}}
	t.Cleanup(func() {
		e.ask("task", "rm", "--force", "sleeper")
		daemon.Process.Signal(unix.SIGTERM)
		daemon.Wait()
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
			t.Fatal("containerd does not answer")
		}
	}
	options := func(id string, first ...string) []string {
		return append(first, "--runc-binary", bundletest.Build(t, "cmd/drydock-runtime"), "--cgroup", parent+"/"+id, "--rootfs", dir+"/rootfs", id, bundletest.Program)
	}
	e.must("hello\n", append(options("hello", "run", "--rm"), "echo", "hello")...)
	if out, status := e.ask(append(options("status", "run", "--rm"), "exit", "42")...); status != 42 {
		t.Errorf("status %d: %s", status, out)
	}
	e.must("", append(options("sleeper", "run", "--detach"), "sleep")...)
	e.must("RUNNING", "task", "ls")
	e.must("inside\n", "task", "exec", "--exec-id", "one", "sleeper", bundletest.Program, "echo", "inside")
	if out, status := e.ask("task", "exec", "--exec-id", "two", "sleeper", bundletest.Program, "exit", "7"); status != 7 {
		t.Errorf("exec: status %d: %s", status, out)
	}
	e.must("", "task", "pause", "sleeper")
	e.must("PAUSED", "task", "ls")
	e.must("", "task", "resume", "sleeper")
	e.must("memory", "task", "metrics", "sleeper")
	if out, status := e.ask("task", "checkpoint", "sleeper"); status == 0 || !strings.Contains(out, "not supported") {
		t.Errorf("checkpoint: status %d: %s", status, out)
	}
	e.must("", "task", "kill", "--signal", "SIGKILL", "sleeper")
	e.ask("task", "wait", "sleeper")
	e.ask("task", "rm", "sleeper")
	e.must("", "container", "rm", "sleeper")
}

// removeCgroups removes what others leave, in every hierarchy.
func removeCgroups(paths ...string) {
	for _, path := range paths {
		left, _ := filepath.Glob("/sys/fs/cgroup/*" + path)
		for _, dir := range append(left, "/sys/fs/cgroup"+path) {
			unix.Rmdir(dir)
		}
	}
}
