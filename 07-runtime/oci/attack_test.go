//go:build linux

package oci_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/07-runtime/bundletest"
)

// The attacks that runtimes have fallen to, each as the container would make it.
// Those on mounts, masks and /proc are tests of chapter 2, whose code it is.

// TestTheRuntimesProgramCannotBeRewritten is CVE-2019-5736: root in a container
// waits for the runtime's process that enters it, opens that process's program,
// a file of the host, and writes it when it is no longer busy.
func TestTheRuntimesProgramCannotBeRewritten(t *testing.T) {
	b := newBundle(t, "rewrite")
	for _, set := range []*[]string{&b.spec.Process.Capabilities.Bounding, &b.spec.Process.Capabilities.Effective, &b.spec.Process.Capabilities.Permitted} {
		*set = append(*set, "CAP_SYS_PTRACE") // without it he does not even see the file
	}
	before, err := os.ReadFile(b.program)
	if err != nil {
		t.Fatal(err)
	}
	c := b.command("run", b.id)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	attacker := bufio.NewReader(out)
	if line, err := attacker.ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	for range 10 {
		b.must("exec", b.id, bundletest.Program, "exit", "0")
	}
	b.must("kill", b.id, "USR2")
	result, _ := attacker.ReadString('\n')
	c.Wait()
	if !strings.HasSuffix(result, " written 0\n") || strings.HasPrefix(result, "opened 0 ") {
		t.Errorf("the attacker: %s", result)
	}
	if after, err := os.ReadFile(b.program); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the runtime's program is another one: %v", err)
	}
}

// TestNoDescriptorLeadsOut is CVE-2024-21626: a working directory that goes
// through a descriptor which the runtime forgot to close is one of the host.
func TestNoDescriptorLeadsOut(t *testing.T) {
	b := newBundle(t, "sleep")
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("the host's"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(outside)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	b.must("run", "--detach", b.id)
	// What the caller left open: three descriptors from 3 on. Those of the runtime follow.
	leaky := func(args ...string) string {
		c := b.command(args...)
		c.ExtraFiles = []*os.File{dir, dir, dir}
		out, _ := c.CombinedOutput()
		return string(out)
	}
	one := *b
	one.id = b.id + "-cwd"
	spec := *b.spec
	spec.Linux = new(*b.spec.Linux)
	spec.Linux.CgroupsPath += "-cwd"
	one.spec = &spec
	for fd := 3; fd < 16; fd++ {
		cwd := fmt.Sprintf("/proc/self/fd/%d", fd)
		process := *b.spec.Process
		process.Cwd, process.Args = cwd, []string{bundletest.Program, "read-file", "secret"}
		spec.Process = &process
		c := one.command("run", one.id)
		c.ExtraFiles = []*os.File{dir, dir, dir}
		out, err := c.CombinedOutput()
		if err == nil || strings.Contains(string(out), "the host's") {
			t.Errorf("run with cwd %s: %v: %s", cwd, err, out)
		}
		if out := leaky("exec", "--cwd", cwd, b.id, bundletest.Program, "read-file", "secret"); strings.Contains(out, "the host's") {
			t.Errorf("exec with cwd %s: %s", cwd, out)
		}
	}
	if out := leaky("exec", b.id, bundletest.Program, "fds"); out != "0\n1\n2\n" {
		t.Errorf("descriptors of a further process: %q", out)
	}
	b.must("delete", "--force", b.id)
	b.spec.Process.Args = []string{bundletest.Program, "fds"}
	if out := leaky("run", b.id); out != "0\n1\n2\n" {
		t.Errorf("descriptors of the first process: %q", out)
	}
}

// TestAFalseNullMasksNothing is CVE-2025-31133: paths are masked by /dev/null,
// and the image's is a link to a file that the attacker wants to write.
func TestAFalseNullMasksNothing(t *testing.T) {
	b := newBundle(t, "read-file", "/proc/timer_list")
	volume := t.TempDir()
	if err := os.Symlink("/proc/sys/kernel/core_pattern", filepath.Join(volume, "null")); err != nil {
		t.Fatal(err)
	}
	for i, m := range b.spec.Mounts {
		if m.Destination == "/dev" {
			b.spec.Mounts[i] = specs.Mount{Destination: "/dev", Source: volume, Options: []string{"bind"}}
		}
	}
	if out := b.must("run", b.id); out != "" {
		t.Errorf("a masked file has contents: %q", out)
	}
	b.spec.Process.Args = []string{bundletest.Program, "write-file", "/proc/sys/kernel/core_pattern", "|/evil"}
	if out, status := b.runtime("run", b.id); status == 0 || !strings.Contains(out, "read-only file system") {
		t.Errorf("a write to core_pattern: status %d: %s", status, out)
	}
}

// TestADeviceIsNotTakenOver: what an image has at a device's place is not used
// as that device.
func TestADeviceIsNotTakenOver(t *testing.T) {
	b := newBundle(t, "exit", "0")
	volume := t.TempDir()
	if err := unix.Mknod(filepath.Join(volume, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 1))); err != nil {
		t.Skip("no devices can be made here: ", err)
	}
	b.spec.Mounts = append(b.spec.Mounts[:2], b.spec.Mounts[4:]...)
	b.spec.Mounts[1] = specs.Mount{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"}
	b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/dev/null", Source: filepath.Join(volume, "null"), Options: []string{"bind"}})
	b.refuses("/dev/null: something else is there already", "run", b.id)
}

// TestTheStateDirectoryIsNobodysPath: an ID is one name below --root.
func TestTheStateDirectoryIsNobodysPath(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	program, root := bundletest.Build(t, "cmd/drydock-runtime"), t.TempDir()
	victim := filepath.Join(root, "victim")
	if err := os.Mkdir(victim, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"../victim", "..", ".", "a/../../victim", ""} {
		out, err := exec.Command(program, "--root", filepath.Join(root, "state"), "delete", "--force", id).CombinedOutput()
		if err == nil {
			t.Errorf("delete %q was accepted: %s", id, out)
		}
	}
	if _, err := os.Stat(victim); err != nil {
		t.Error(err)
	}
}
