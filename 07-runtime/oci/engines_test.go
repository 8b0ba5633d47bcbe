//go:build linux

package oci_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// engine is another project's engine that is told to use our runtime.
type engine struct {
	t       *testing.T
	command []string
	env     []string
	user    *syscall.Credential // who runs it, unless it is root
}

// ask runs the engine's client, and returns what it printed and its status.
func (e *engine) ask(args ...string) (string, int) {
	e.t.Helper()
	c := exec.Command(e.command[0], append(append([]string{}, e.command[1:]...), args...)...)
	c.Env = append(os.Environ(), e.env...)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: e.user}
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

// removeCgroups removes what others leave, in every hierarchy, with what is
// below it, when their processes have ended: conmon and what it runs at the end outlive a container a little.
func removeCgroups(paths ...string) {
	for _, path := range paths {
		left, _ := filepath.Glob("/sys/fs/cgroup/*" + path)
		for _, top := range append(left, "/sys/fs/cgroup"+path) {
			var dirs []string
			filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			for _, dir := range slices.Backward(dirs) {
				awaitEmpty(dir)
				unix.Rmdir(dir)
			}
		}
	}
}

// awaitEmpty returns when no process is in a cgroup, or one does not end within
// ten seconds.
func awaitEmpty(cgroup string) {
	for {
		text, err := os.ReadFile(cgroup + "/cgroup.procs")
		pid, _, more := strings.Cut(string(text), "\n")
		if err != nil || !more || !awaitEnd(pid) {
			return
		}
	}
}

// awaitEnd waits for the end of a process, and reports whether it came.
func awaitEnd(pid string) bool {
	n, _ := strconv.Atoi(pid)
	fd, err := unix.PidfdOpen(n, 0)
	if err != nil {
		return err == unix.ESRCH
	}
	defer unix.Close(fd)
	for {
		if ended, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); err != unix.EINTR {
			return ended == 1
		}
	}
}
