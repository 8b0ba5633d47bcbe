//go:build linux

package hosttest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Ordinary is the id of a user and a group that exist nowhere but in tests.
const Ordinary = 42424

// OpenDir is a temporary directory to which every user of the machine finds the
// way: with t.TempDir that is closed to others.
func OpenDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != filepath.Dir(os.TempDir()) && d != "/"; d = filepath.Dir(d) {
		if info, err := os.Stat(d); err != nil {
			t.Fatal(err)
		} else if info.Mode()&1 != 0 {
			continue
		}
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// AsOrdinary runs this package's tests once more as the user [Ordinary], but
// those whose names match skip, a regular expression: what needs root is skipped
// with that reason, and the rest must pass.
func AsOrdinary(t *testing.T, skip string) {
	t.Helper()
	Require(t, Root)
	dir := OpenDir(t)
	if err := os.Chown(dir, Ordinary, Ordinary); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/tests", self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dir+"/tests", "-test.v", "-test.skip", t.Name()+"|"+skip)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: Ordinary, Gid: Ordinary}}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	passed, skipped := strings.Count(string(out), "\n--- PASS"), strings.Count(string(out), "\n--- SKIP")
	t.Logf("user %d: %d passed, %d skipped", Ordinary, passed, skipped)
	if err != nil || passed == 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
