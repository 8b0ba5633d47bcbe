//go:build linux

package oci_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// removeCgroups removes what others leave, in every hierarchy, with what is below it.
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
				unix.Rmdir(dir)
			}
		}
	}
}
