//go:build linux

package oci_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/07-runtime/bundletest"
)

// podmanConfig keeps podman within what a machine without systemd, and with low limits, allows.
const podmanConfig = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\nlog_driver = \"k8s-file\"\n[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n"

// newPodman is Debian's podman with everything of its own in directories of the
// test. The words run a container, with a root file system in place of an image.
func newPodman(t *testing.T) (e *engine, container []string) {
	t.Helper()
	hosttest.Require(t, hosttest.Root, hosttest.Program("podman"), hosttest.Program("conmon"))
	dir := t.TempDir()
	bundletest.Rootfs(t, dir+"/rootfs")
	if err := os.WriteFile(dir+"/containers.conf", []byte(podmanConfig), 0o644); err != nil {
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
		awaitEndOf(t, run)
		removeCgroups(parent, "/libpod_parent")
		// Each podman mounts it again, also the one that conmon runs at the end.
		for unix.Unmount(dir+"/root/overlay", unix.MNT_DETACH) == nil {
		}
		os.RemoveAll(run)
	})
	return e, []string{"--network", "none", "--cgroup-parent", parent, "--rootfs", dir + "/rootfs"}
}

// awaitEndOf waits for all processes with this word in their arguments: conmon,
// and what it starts when a container or an exec has ended.
func awaitEndOf(t *testing.T, word string) {
	t.Helper()
	for found := true; found; {
		found = false
		files, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			arguments, err := os.ReadFile(file)
			if err != nil || !bytes.Contains(arguments, []byte(word)) {
				continue // it may have ended
			}
			found = true
			if !awaitEnd(filepath.Base(filepath.Dir(file))) {
				t.Errorf("it does not end: %q", arguments)
				return
			}
		}
	}
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

// TestPodmanRootless is an ordinary user's podman: it makes itself a user
// namespace with his subordinate ids, by newuidmap(1), and starts the runtime
// as root in there.
func TestPodmanRootless(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces, hosttest.Program("podman"), hosttest.Program("conmon"), hosttest.Program("newuidmap"))
	home, err := os.MkdirTemp("", "sailor") // nobody may enter the directories of the tests
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	rootfs, program := filepath.Join(home, "rootfs"), filepath.Join(home, "runtime")
	bundletest.Rootfs(t, rootfs)
	runtime, err := os.ReadFile(bundletest.Build(t, "cmd/drydock-runtime"))
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprint(hosttest.Ordinary)
	for name, text := range map[string]string{
		"/etc/passwd": "root:x:0:0::/root:/bin/sh\nsailor:x:" + id + ":" + id + "::" + home + ":/bin/sh\n",
		"/etc/group":  "root:x:0:\nsailor:x:" + id + ":\n",
		"/etc/subuid": "sailor:200000:65536\n",
		"/etc/subgid": "sailor:200000:65536\n",
	} {
		cover(t, name, text)
	}
	config := filepath.Join(home, "containers.conf")
	for path, text := range map[string][]byte{config: []byte(podmanConfig), program: runtime} {
		if err := os.WriteFile(path, text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := filepath.WalkDir(home, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, hosttest.Ordinary, hosttest.Ordinary)
	}); err != nil {
		t.Fatal(err)
	}
	e := &engine{
		t: t, user: &syscall.Credential{Uid: hosttest.Ordinary, Gid: hosttest.Ordinary},
		env:     []string{"HOME=" + home, "USER=sailor", "XDG_RUNTIME_DIR=" + home, "CONTAINERS_CONF=" + config, "DBUS_SESSION_BUS_ADDRESS="},
		command: []string{"podman", "--runtime", program, "--storage-driver", "vfs"},
	}
	t.Cleanup(func() {
		e.ask("rm", "-af", "-t", "0")
		e.ask("system", "migrate") // ends the process that holds the namespaces
	})
	options := []string{"--network", "none", "--rootfs", rootfs, bundletest.Program}
	run := func(args ...string) []string { return append(append([]string{"run"}, options...), args...) }
	if ids := e.must("65536", run("read-file", "/proc/self/uid_map")...); strings.Fields(ids[strings.Index(ids, " 0 "):])[1] != id {
		t.Errorf("who is root inside: %s", ids)
	}
	e.must("", append([]string{"run", "-d", "--name", "sleeper"}, append(options, "sleep")...)...)
	e.must("inside\n", "exec", "sleeper", bundletest.Program, "echo", "inside")
	if out, status := e.ask("exec", "sleeper", bundletest.Program, "exit", "7"); status != 7 {
		t.Errorf("exec: status %d: %s", status, out)
	}
	e.must("sleeper", "rm", "-f", "-t", "0", "sleeper")
}

// cover puts another file over a file of the host, for the time of the test and
// in its mount namespace.
func cover(t *testing.T, path, text string) {
	t.Helper()
	other := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(other, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip(err)
	}
	if err := unix.Mount(other, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}
