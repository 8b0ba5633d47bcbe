//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
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

// breakout is the path of the program, on the host and in a root.
func breakout(t *testing.T) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "breakout")
}

// newRoot is a root file system with a shell, ls and breakout.
func newRoot(t *testing.T) string {
	t.Helper()
	hosttest.Require(t, hosttest.Root)
	root := filepath.Join(t.TempDir(), "root")
	if out, status := runJail(t, "--with", "sh", "--with", "ls", "--with", breakout(t), root); status != 0 || out != "" {
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

// The naive program is Go's own chroot between fork and execve, which leaves open
// what was handed on, as chroot(8) does.
func TestNoOpenFileReachesTheProgram(t *testing.T) {
	root := newRoot(t)
	outside, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	naive := exec.Command(breakout(t), "--by", "descriptor")
	naive.Dir = "/"
	naive.ExtraFiles = []*os.File{outside}
	naive.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if out, status := output(t, naive); status != 0 || !strings.HasPrefix(out, "I am out: ") {
		t.Errorf("by the descriptor of a naive program: exit status %d: %s", status, out)
	}
	for way, flags := range ways {
		cmd := jail(t, slices.Concat(flags, []string{root, breakout(t), "--by", "descriptor"})...)
		cmd.ExtraFiles = []*os.File{outside}
		if out, status := output(t, cmd); status != 1 || out != "breakout: fchdir 3: bad file descriptor\n" {
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
		{[]string{"--with", "", root}, `jail: exec: "": executable file not found in $PATH`, 125},
		{[]string{"--with", "/etc/passwd", root}, `jail: exec: "/etc/passwd": permission denied`, 125},
		{[]string{"--with", "sh", "/"}, "jail: build a root file system in /: that is the host's own /", 125},
		{[]string{"--with", "sh", root + "/plain"}, "jail: mkdir " + root + "/plain: not a directory", 125},
		{[]string{"--file", "/gone", root}, "jail: lstat /gone: no such file or directory", 125},
		{[]string{"--file", "/etc", root}, "jail: copy /etc: is a directory", 125},
		{[]string{"--file", "/dev/null", root}, "jail: copy /dev/null: not a regular file", 125},
		{[]string{"--names", root, "sh"}, "jail: --names is about the programs of --with: name one", 125},
		{[]string{"", "/bin/sh"}, "jail: chroot : no such file or directory", 125},
		{[]string{"--pivot", root + "/gone", "/bin/sh"}, fmt.Sprintf("jail: mount(%[1]q, %[1]q, \"\", MS_BIND|MS_REC, NULL): no such file or directory", root+"/gone"), 125},
	} {
		out, status := runJail(t, test.args...)
		if strings.TrimSpace(out) != test.want || status != test.status {
			t.Errorf("%q: exit status %d: %swant %d: %s", test.args, status, out, test.status, test.want)
		}
	}
	for _, args := range [][]string{{}, {root}, {"--unknown"}, {"--pivot=maybe", root, "sh"}, {"--drop=maybe", root, "sh"}, {"--explain=maybe", root, "sh"}, {"--with"}} {
		if out, status := runJail(t, args...); status != 125 || !strings.Contains(out, "Usage: jail") {
			t.Errorf("%q: exit status %d: %s", args, status, out)
		}
	}
}

func TestBreakoutLeavesAChroot(t *testing.T) {
	root := newRoot(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("of the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []string{"dotdot", "proc"} {
		if out, status := runJail(t, root, breakout(t), "--by", by, cat, secret); status != 0 || out != "of the host" {
			t.Errorf("by %s: exit status %d: %s", by, status, out)
		}
		if out, status := runJail(t, root, breakout(t), "--by", by); status != 0 || !strings.HasPrefix(out, "I am out: ") {
			t.Errorf("by %s: exit status %d: %s", by, status, out)
		}
	}
}

func TestPivotRootClosesTheWayOut(t *testing.T) {
	root := newRoot(t)
	out, status := runJail(t, "--pivot", root, breakout(t), "/bin/sh", "-c", "echo out")
	if status != 1 || out != "breakout: I am still inside: .. ends where it ended before\n" {
		t.Errorf("exit status %d: %s", status, out)
	}
	// And it is not enough: another process's root is no directory above.
	if out, status := runJail(t, "--pivot", root, breakout(t), "--by", "proc"); status != 0 || !strings.HasPrefix(out, "I am out: ") {
		t.Errorf("by proc: exit status %d: %s", status, out)
	}
}

func TestWithoutCapabilitiesThereIsNoWayOut(t *testing.T) {
	root := newRoot(t)
	for way, flags := range ways {
		for by, want := range map[string]string{
			"dotdot": "breakout: chroot /second-root: operation not permitted\n",
			"proc":   "breakout: mount /proc: operation not permitted\n",
		} {
			out, status := runJail(t, slices.Concat(flags, []string{"--drop", root, breakout(t), "--by", by})...)
			if status != 1 || out != want {
				t.Errorf("%s, by %s: exit status %d: %s", way, by, status, out)
			}
		}
	}
}

func TestBreakoutKnowsItsWays(t *testing.T) {
	out, status := runJail(t, newRoot(t), breakout(t), "--by", "magic")
	if status != 1 || out != "breakout: --by magic is none of dotdot, proc, descriptor\n" {
		t.Errorf("exit status %d: %s", status, out)
	}
}

// ordinaryJail is the command jail of an ordinary user, and a directory of his.
func ordinaryJail(t *testing.T) (his func(args ...string) *exec.Cmd, dir string) {
	t.Helper()
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces)
	dir = hosttest.OpenDir(t)
	if err := os.Chown(dir, hosttest.Ordinary, hosttest.Ordinary); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile(jail(t).Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/jail", self, 0o755); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) *exec.Cmd {
		cmd := exec.Command(dir+"/jail", args...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: hosttest.Ordinary, Gid: hosttest.Ordinary}}
		return cmd
	}, dir
}

// As user 0 of a user namespace of his own, an ordinary user has the same jail.
func TestAnOrdinaryUserHasAJail(t *testing.T) {
	his, dir := ordinaryJail(t)
	root := dir + "/root"
	if out, status := output(t, his("--with", "sh", "--with", "cat", "--with", "ls", root)); status != 0 || out != "" {
		t.Fatalf("exit status %d: %s", status, out)
	}
	for way, flags := range ways {
		out, status := output(t, his(slices.Concat(flags, []string{"--drop", root, "sh", "-c", "cd ../..; ls; echo 1 > /file; exit 3"})...))
		if status != 3 || !strings.Contains(out, "usr\n") || strings.Contains(out, "proc\n") {
			t.Errorf("%s: exit status %d: %s", way, status, out)
		}
	}
	if out, status := output(t, his(root, "sh", "-c", "kill -TERM $$")); status != 128+15 {
		t.Errorf("killed by SIGTERM: exit status %d: %s", status, out)
	}
	var st unix.Stat_t
	if err := unix.Stat(root+"/file", &st); err != nil || st.Uid != hosttest.Ordinary {
		t.Errorf("what it wrote belongs to %d (%v), want %d", st.Uid, err, hosttest.Ordinary)
	}
}

// A signal is passed on to the program, and jail's end is the program's.
func TestAnOrdinaryUsersJailPassesSignalsOn(t *testing.T) {
	his, _ := ordinaryJail(t)
	for sig, want := range map[syscall.Signal]string{syscall.SIGTERM: "ready\nterminated\n", syscall.SIGKILL: "ready\n"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := his("/", "sh", "-c", "trap 'echo terminated; exit 7' TERM; echo ready; while :; do sleep 1000 & wait $!; done")
		cmd.Stdout = w
		cmd.SysProcAttr.Setpgid = true
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		out := make([]byte, 6)
		if _, err := io.ReadFull(r, out); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		err = cmd.Wait()
		if sig == syscall.SIGTERM && cmd.ProcessState.ExitCode() != 7 {
			t.Errorf("%v: %v, want the program's status 7", sig, err)
		}
		// The sleeping child of the shell is nobody's now.
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		rest, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		if got := string(out) + string(rest); got != want {
			t.Errorf("%v: the program printed %q, want %q", sig, got, want)
		}
	}
}

func TestNamesAndFilesAreCopied(t *testing.T) {
	hosttest.Require(t, hosttest.Program("id"))
	root := filepath.Join(t.TempDir(), "root")
	if out, status := runJail(t, "--with", "id", root, "id", "-un"); status == 0 || !strings.Contains(out, "cannot find name for user ID 0") {
		t.Errorf("before: exit status %d: %s", status, out)
	}
	note := filepath.Join(t.TempDir(), "note")
	if err := os.WriteFile(note, []byte("read me"), 0o640); err != nil {
		t.Fatal(err)
	}
	if out, status := runJail(t, "--with", "id", "--names", "--file", note, root, "id", "-un"); status != 0 || out != "root\n" {
		t.Errorf("after: exit status %d: %s", status, out)
	}
	if b, err := os.ReadFile(root + note); err != nil || string(b) != "read me" {
		t.Errorf("%q %v", b, err)
	}
	if _, err := os.Stat(root + "/etc/shadow"); err == nil {
		t.Error("the host's passwords were copied")
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
	for _, flags := range [][]string{{"--explain", "--with", "sh"}, {"--explain", "--pivot"}, {"--explain", "--drop"}} {
		cmd := jail(t, slices.Concat(flags, []string{root, "sh", "-c", "echo hello"})...)
		if out := stracetest.Check(t, cmd.Args...); !strings.Contains(out, "hello\n") {
			t.Errorf("%q: %s", flags, out)
		}
	}
}
