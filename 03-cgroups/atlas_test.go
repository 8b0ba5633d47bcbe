//go:build linux

package cgroups_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/03-cgroups/cgroupfs"
)

// Each test here is an entry of docs/error-atlas.md: the failure, and its cure.
// They use no part of this chapter but mkdir and write, as a learner's first
// program does.

// fails checks that a call fails as the atlas says.
func fails(t *testing.T, what string, err error, want unix.Errno) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v: want %v", what, err, want)
	}
}

// byHand makes a cgroup as a learner does: a directory below the tests' own in
// the hierarchy of a controller, which is not handed on to it.
func byHand(t *testing.T, controller, name string) string {
	t.Helper()
	mounts, err := cgroupfs.ReadMounts()
	if err != nil {
		t.Fatal(err)
	}
	var top string
	if mounts.Unified() {
		top = mounts.V2.Dir
	}
	for _, h := range mounts.V1 {
		if top == "" && slices.Contains(h.Controllers, controller) {
			top = h.Dir
		}
	}
	if top == "" {
		t.Skipf("requires the controller %s", controller)
	}
	dir := filepath.Join(top, hosttest.Cgroup(), name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeEmpty(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
	return dir
}

// put writes to a file that exists, as echo > does but for O_CREAT.
func put(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}

// handOn enables a v2 controller for dir, in every directory above it.
func handOn(t *testing.T, controller, dir string) {
	t.Helper()
	mounts, err := cgroupfs.ReadMounts()
	if err != nil {
		t.Fatal(err)
	}
	for at := mounts.V2.Dir; at != dir; {
		if err := put(at+"/cgroup.subtree_control", "+"+controller); err != nil {
			t.Fatal(err)
		}
		next, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(dir, at), "/"), "/")
		at = filepath.Join(at, next)
	}
}

// sleeper is a process to be put somewhere, which ends with the test.
func sleeper(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), role+"=sleep")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	return strconv.Itoa(cmd.Process.Pid)
}

func TestAtlasRmdirOfACgroupInUse(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	away, dir := byHand(t, "pids", "away"), byHand(t, "pids", "in-use")
	pid := sleeper(t)
	if err := put(dir+"/cgroup.procs", pid); err != nil {
		t.Fatal(err)
	}
	fails(t, "rmdir of a cgroup with a process", unix.Rmdir(dir), unix.EBUSY)
	if err := put(away+"/cgroup.procs", pid); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/child", 0o755); err != nil {
		t.Fatal(err)
	}
	fails(t, "rmdir of a cgroup with a child", unix.Rmdir(dir), unix.EBUSY)
	if err := errors.Join(removeEmpty(dir+"/child"), removeEmpty(dir)); err != nil {
		t.Errorf("rmdir of an empty one: %v", err)
	}
}

func TestAtlasRemoveAFileOfACgroup(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := byHand(t, "pids", "rm-r")
	fails(t, "rm of one of its files", unix.Unlink(dir+"/cgroup.procs"), unix.EPERM)
	if err := unix.Rmdir(dir); err != nil {
		t.Errorf("rmdir, with the files in it: %v", err)
	}
}

func TestAtlasControllerThatIsNotHandedOn(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.CgroupV2)
	above := byHand(t, "pids", "above")
	dir := byHand(t, "pids", "above/below")
	fails(t, "pids.max where the parent does not name pids", put(dir+"/pids.max", "10"), unix.ENOENT)
	fails(t, "the same, by echo >", os.WriteFile(dir+"/pids.max", []byte("10"), 0o644), unix.EACCES)
	handOn(t, "pids", dir)
	if err := put(dir+"/pids.max", "10"); err != nil {
		t.Errorf("pids.max after +pids in %s: %v", above, err)
	}
}

func TestAtlasNoInternalProcesses(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.CgroupV2)
	parent := byHand(t, "memory", "parent")
	child := byHand(t, "memory", "parent/child")
	handOn(t, "memory", parent)
	pid := sleeper(t)
	if err := put(parent+"/cgroup.procs", pid); err != nil {
		t.Fatal(err)
	}
	fails(t, "+memory for the children of a cgroup with a process", put(parent+"/cgroup.subtree_control", "+memory"), unix.EBUSY)
	if err := put(child+"/cgroup.procs", pid); err != nil {
		t.Fatal(err)
	}
	if err := put(parent+"/cgroup.subtree_control", "+memory"); err != nil {
		t.Fatalf("with the process in the child: %v", err)
	}
	fails(t, "a process for a cgroup whose children have controllers", put(parent+"/cgroup.procs", pid), unix.EBUSY)
}

func TestAtlasMemoryLimitInOtherWords(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := byHand(t, "memory", "words")
	file := dir + "/memory.limit_in_bytes"
	if hosttest.CgroupV2() == nil {
		handOn(t, "memory", dir)
		file = dir + "/memory.max"
		fails(t, "v1's word for no limit", put(file, "-1"), unix.EINVAL)
	}
	for _, value := range []string{"64MB", "64 M", "lots", "1e9"} {
		fails(t, value, put(file, value), unix.EINVAL)
	}
	for _, value := range []string{"67108864", "64M"} {
		if err := put(file, value); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func TestAtlasCpusetWithoutCPUs(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.CgroupV1)
	// A parent that Create made gives its values on.
	if err := put(byHand(t, "cpuset", "empty")+"/cgroup.clone_children", "0"); err != nil {
		t.Fatal(err)
	}
	dir := byHand(t, "cpuset", "empty/none")
	pid := sleeper(t)
	fails(t, "a process for a v1 cpuset that has no CPU", put(dir+"/cgroup.procs", pid), unix.ENOSPC)
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		empty, values := []string{dir}, ""
		for at := filepath.Dir(dir); ; at = filepath.Dir(at) {
			b, err := os.ReadFile(filepath.Join(at, file))
			if err != nil {
				t.Fatal(err)
			}
			if values = string(b); len(values) > 1 {
				break
			}
			empty = append(empty, at)
		}
		for _, at := range slices.Backward(empty) { // a child may have what its parent has
			if err := put(filepath.Join(at, file), values); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := put(dir+"/cgroup.procs", pid); err != nil {
		t.Errorf("with CPUs and memory nodes: %v", err)
	}
	if err := put(filepath.Dir(dir)+"/cgroup.procs", pid); err != nil {
		t.Error(err)
	}
}

func TestAtlasProcessThatIsGone(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := byHand(t, "pids", "gone")
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), role+"=sleep") // ends at once: its input is /dev/null
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	fails(t, "a process that has ended", put(dir+"/cgroup.procs", strconv.Itoa(cmd.Process.Pid)), unix.ESRCH)
}

// removeEmpty removes a cgroup. A process that has been waited for may count as
// being in there a moment longer; v2 tells when it does not.
func removeEmpty(dir string) error {
	for range 1000 {
		events, openErr := os.Open(dir + "/cgroup.events")
		err := unix.Rmdir(dir)
		if openErr == nil {
			if err == unix.EBUSY {
				_, _ = unix.Poll([]unix.PollFd{{Fd: int32(events.Fd()), Events: unix.POLLPRI}}, 2)
			}
			events.Close()
		}
		if err != unix.EBUSY {
			return err
		}
	}
	return unix.EBUSY
}
