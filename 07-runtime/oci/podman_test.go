//go:build linux

package oci_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/07-runtime/bundletest"
)

// newPodman is Debian's podman with everything of its own in directories of the
// test. The words run a container, with a root file system in place of an image.
func newPodman(t *testing.T) (e *engine, container []string) {
	t.Helper()
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
	e = &engine{t: t, env: []string{"CONTAINERS_CONF=" + dir + "/containers.conf"}, command: []string{
		"podman", "--root", dir + "/root", "--runroot", run, "--tmpdir", run + "/tmp", "--runtime", bundletest.Build(t, "cmd/drydock-runtime"),
	}}
	parent := hosttest.Cgroup() + "/" + t.Name()
	t.Cleanup(func() {
		e.ask("rm", "-af")
		unix.Unmount(dir+"/root/overlay", unix.MNT_DETACH)
		os.RemoveAll(run)
		removeCgroups(parent, "/libpod_parent")
	})
	return e, []string{"--network", "none", "--cgroup-parent", parent, "--rootfs", dir + "/rootfs"}
}

func TestPodman(t *testing.T) {
	e, options := newPodman(t)
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

// TestPodmanHealth is a check of a container's health: an exec, by another
// invocation of podman.
func TestPodmanHealth(t *testing.T) {
	e, options := newPodman(t)
	run := append([]string{"run", "-d", "--name", "service", "--health-interval", "disable", "--health-retries", "1", "--health-cmd", "[\"" + bundletest.Program + "\", \"read-file\", \"/tmp/healthy\"]"}, options...)
	e.must("", append(run, bundletest.Program, "sleep")...)
	if out, status := e.ask("healthcheck", "run", "service"); status != 1 {
		t.Errorf("a sick service: status %d: %s", status, out)
	}
	e.must("unhealthy", "inspect", "--format", "{{.State.Healthcheck.Status}}", "service")
	e.must("", "exec", "service", bundletest.Program, "write-file", "/tmp/healthy", "yes")
	e.must("", "healthcheck", "run", "service")
	e.must("healthy\n", "inspect", "--format", "{{.State.Healthcheck.Status}}", "service")
}

// TestPodmanPod is two containers that share the namespaces of a third, which
// are given to the runtime by path.
func TestPodmanPod(t *testing.T) {
	e, options := newPodman(t)
	e.must("", "pod", "create", "--name", "pod", "--network", "none", "--cgroup-parent", options[3], "--share", "net,ipc,uts", "--hostname", "shared")
	with := func(name string, args ...string) []string {
		return append([]string{"run", "-d", "--pod", "pod", "--name", name, "--rootfs", options[5], bundletest.Program}, args...)
	}
	e.must("", with("first", "sleep")...)
	e.must("", with("second", "sleep")...)
	e.must("shared", "exec", "first", bundletest.Program, "read-file", "/proc/sys/kernel/hostname")
	for _, kind := range []string{"net", "ipc", "uts", "pid"} {
		first := e.must("[", "exec", "first", bundletest.Program, "link", "/proc/self/ns/"+kind)
		second := e.must("[", "exec", "second", bundletest.Program, "link", "/proc/self/ns/"+kind)
		if shared := kind != "pid"; (first == second) != shared {
			t.Errorf("%s namespaces: %s and %s, want shared: %t", kind, first, second, shared)
		}
	}
	e.must("", "pod", "pause", "pod")
	e.must("paused\n", "inspect", "--format", "{{.State.Status}}", "second")
	e.must("", "pod", "unpause", "pod")
	e.must("", "pod", "rm", "-f", "-t", "0", "pod")
}
