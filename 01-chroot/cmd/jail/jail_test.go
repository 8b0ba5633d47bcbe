//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/explain/stracetest"
	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

// programs compiles jail and breakout, once, into a directory.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "programs")
	if err != nil {
		return "", err
	}
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", dir+"/", "drydock.example/01-chroot/cmd/...").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
})

// jail is the command jail with these arguments.
func jail(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	hosttest.Require(t, hosttest.Root)
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(filepath.Join(dir, "jail"), args...)
}

// runJail runs it, and returns what it prints and its exit status.
func runJail(t *testing.T, args ...string) (string, int) {
	t.Helper()
	return output(t, jail(t, args...))
}

func output(t *testing.T, cmd *exec.Cmd) (string, int) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// newRoot is a root file system with a shell, ls and breakout.
func newRoot(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	hosttest.Require(t, hosttest.Root)
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	if out, status := runJail(t, "--with", "sh", "--with", "ls", "--with", dir+"/breakout", root); status != 0 || out != "" {
		t.Fatalf("exit status %d: %s", status, out)
	}
	return root
}

// ways are the two ways in.
var ways = map[string][]string{"chroot": nil, "pivot_root": {"--pivot"}}

func TestTheDirectoryIsTheRoot(t *testing.T) {
	root := newRoot(t)
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	want := "/\n"
	for _, e := range entries {
		want += e.Name() + "\n"
	}
	for way, flags := range ways {
		out, status := runJail(t, append(flags, root, "sh", "-c", "pwd; cd ../..; ls")...)
		if status != 0 || out != want {
			t.Errorf("%s: exit status %d, got\n%swant\n%s", way, status, out, want)
		}
	}
}

func TestTheExitStatusIsTheProgramsOwn(t *testing.T) {
	root := newRoot(t)
	for way, flags := range ways {
		for _, want := range []int{0, 3, 125} {
			if out, status := runJail(t, append(flags, root, "sh", "-c", fmt.Sprintf("exit %d", want))...); status != want {
				t.Errorf("%s: exit status %d, want %d: %s", way, status, want, out)
			}
		}
	}
}

func TestTheProgramTakesTheJailsPlace(t *testing.T) {
	root := newRoot(t)
	for way, flags := range ways {
		cmd := jail(t, append(flags, root, "sh", "-c", "echo $$; kill -TERM $$")...)
		out, _ := output(t, cmd)
		if want := fmt.Sprintln(cmd.Process.Pid); out != want {
			t.Errorf("%s: the program is process %q, want %q", way, out, want)
		}
		if state := cmd.ProcessState.String(); state != "signal: terminated" {
			t.Errorf("%s: %s, want the signal that the program died of", way, state)
		}
	}
}

func TestNoOpenFileReachesTheProgram(t *testing.T) {
	root := newRoot(t)
	outside, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	for way, flags := range ways {
		cmd := jail(t, append(flags, root, "sh", "-c", ": <&3")...)
		cmd.ExtraFiles = []*os.File{outside}
		if out, status := output(t, cmd); status == 0 || !strings.Contains(out, "3") {
			t.Errorf("%s: the program has the host's / as descriptor 3: exit status %d, %s", way, status, out)
		}
	}
}

func TestWhatCannotStartIsNamed(t *testing.T) {
	root := newRoot(t)
	if err := os.WriteFile(filepath.Join(root, "script"), []byte("#!/bin/gone\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "plain"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   []string
		want   string
		status int
	}{
		{[]string{root, "gone"}, `jail: the program does not start: exec: "gone": executable file not found in $PATH`, 127},
		{[]string{root, "/gone"}, `jail: the program does not start: exec: "/gone": stat /gone: no such file or directory`, 127},
		{[]string{root, "/script"}, `jail: the program does not start: exec /script: its interpreter /bin/gone: no such file or directory`, 127},
		{[]string{root, "/plain"}, `jail: the program does not start: exec: "/plain": permission denied`, 126},
		{[]string{root + "/gone", "/bin/sh"}, "jail: chroot " + root + "/gone: no such file or directory", 125},
		{[]string{root + "/plain", "/bin/sh"}, "jail: chroot " + root + "/plain: not a directory", 125},
		{[]string{"--with", "gone", root}, `jail: exec: "gone": executable file not found in $PATH`, 125},
		{[]string{"--pivot", root + "/gone", "/bin/sh"}, fmt.Sprintf("jail: mount(%[1]q, %[1]q, \"\", MS_BIND|MS_REC, NULL): no such file or directory", root+"/gone"), 125},
	} {
		out, status := runJail(t, test.args...)
		if strings.TrimSpace(out) != test.want || status != test.status {
			t.Errorf("%q: exit status %d: %swant %d: %s", test.args, status, out, test.status, test.want)
		}
	}
	for _, args := range [][]string{{}, {root}, {"--unknown"}} {
		if out, status := runJail(t, args...); status == 0 || !strings.Contains(out, "Usage: jail") {
			t.Errorf("%q: exit status %d: %s", args, status, out)
		}
	}
}

func TestBreakoutLeavesAChroot(t *testing.T) {
	root := newRoot(t)
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("of the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	if out, status := runJail(t, root, dir+"/breakout", cat, secret); status != 0 || out != "of the host" {
		t.Errorf("exit status %d: %s", status, out)
	}
	if out, status := runJail(t, root, dir+"/breakout"); status != 0 || !strings.HasPrefix(out, "I am out: ") {
		t.Errorf("exit status %d: %s", status, out)
	}
}

func TestPivotRootClosesTheWayOut(t *testing.T) {
	root := newRoot(t)
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	out, status := runJail(t, "--pivot", root, dir+"/breakout", "/bin/sh", "-c", "echo out")
	if status != 1 || out != "breakout: I am still inside: .. ends where it ended before\n" {
		t.Errorf("exit status %d: %s", status, out)
	}
}

func TestJailLeavesTheHostsMountsAlone(t *testing.T) {
	root := newRoot(t)
	// The worst case: a host whose mounts are shared.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Error(err)
		}
	})
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for way, flags := range ways {
		if out, status := runJail(t, append(flags, root, "sh", "-c", ":")...); status != 0 {
			t.Errorf("%s: exit status %d: %s", way, status, out)
		}
		if after, err := os.ReadFile("/proc/self/mountinfo"); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: mounts before\n%safter\n%s%v", way, before, after, err)
		}
	}
}

func TestWhatIsExplainedIsWhatStraceSees(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	for _, flags := range [][]string{{"--explain", "--with", "sh"}, {"--explain", "--pivot"}} {
		cmd := jail(t, slices.Concat(flags, []string{root, "sh", "-c", "echo hello"})...)
		if out := stracetest.Check(t, cmd.Args...); !strings.Contains(out, "hello\n") {
			t.Errorf("%q: %s", flags, out)
		}
	}
}
