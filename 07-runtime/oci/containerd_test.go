//go:build linux

package oci_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/07-runtime/bundletest"
)

// TestContainerd is Debian's containerd, whose shim for runc is told to use
// our program in runc's place.
func TestContainerd(t *testing.T) {
	t.Parallel()
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
	// ctr has no word for waiting.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if out, _ := e.ask("task", "ls"); strings.Contains(out, "STOPPED") {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the task does not end: %s", out)
		}
	}
	e.ask("task", "rm", "sleeper") // with the status of the program, 137
	e.must("", "container", "rm", "sleeper")
}
