//go:build linux

package overlayfs

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"drydock.example/01-chroot/explain/stracetest"
	"drydock.example/01-chroot/hosttest"
)

// programs builds the programs that the tests run, once.
var programs = sync.OnceValues(func() (dir string, err error) {
	dir, err = os.MkdirTemp("", "programs")
	if err != nil {
		return "", err
	}
	for _, p := range []string{"./cmd/stack", "drydock.example/01-chroot/cmd/jail"} {
		if out, err := exec.Command("go", "build", "-o", dir+"/", p).CombinedOutput(); err != nil {
			return "", &os.PathError{Op: "go build", Path: string(out), Err: err}
		}
	}
	return dir, nil
})

// stack returns the chapter's program, a directory, and in it a layer with a shell.
func stack(t *testing.T) (program, dir, base string) {
	t.Helper()
	dir = scratch(t)
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	base = dir + "/base"
	if out, err := exec.Command(bin+"/jail", "--with", "/bin/sh", base, "/bin/sh", "-c", "true").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	mkdirs(t, base, "proc", "sys", "dev", "etc")
	t.Setenv("TMPDIR", dir)
	return bin + "/stack", dir, base
}

func TestStackShowsAndCommitsChanges(t *testing.T) {
	program, dir, base := stack(t)
	out, err := exec.Command(program, "--commit", dir+"/layer.tar", base, "--", "/bin/sh", "-c", "echo hello > /etc/greeting; echo > /dev/null; exit 3").CombinedOutput()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 3 || string(out) != "C /etc\nA /etc/greeting\n" {
		t.Errorf("%v: %s", err, out)
	}
	out, err = exec.Command(program, "--read-only", base, dir+"/layer.tar", "--", "/bin/sh", "-c", "read x < /etc/greeting; echo $x; echo > /x").CombinedOutput()
	if err == nil || !strings.HasPrefix(string(out), "hello\n") || !strings.Contains(string(out), "Read-only file system") {
		t.Errorf("%v: %s", err, out)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestStackExplainsWhatStraceSees(t *testing.T) {
	hosttest.Require(t, hosttest.Program("strace"))
	program, dir, base := stack(t)
	layer := dir + "/layer.tar"
	write(t, layer, string(archive(t, regular("f", "x"))))
	out := stracetest.Check(t, program, "--explain", base, layer, "--", "/bin/sh", "-c", "echo > /new")
	if !strings.Contains(out, "A /new") {
		t.Error(out)
	}
}

func TestStackRefuses(t *testing.T) {
	program, dir, base := stack(t)
	write(t, dir+"/bad.tar", strings.Repeat("not a tar ", 100))
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{base, "/bin/sh"}, 2, "usage: stack"},
		{[]string{dir + "/none", "--", "/bin/sh"}, 125, dir + "/none: no such file"},
		{[]string{dir + "/bad.tar", "--", "/bin/sh"}, 125, "bad.tar: layer: read layer: archive/tar: invalid tar header"},
		{[]string{base, "--", "/bin/none"}, 127, "/bin/none"},
		{[]string{"--upper", "/proc/upper", base, "--", "/bin/sh"}, 125, "/proc/upper"},
	} {
		out, err := exec.Command(program, c.args...).CombinedOutput()
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != c.status || !strings.Contains(string(out), c.want) {
			t.Errorf("stack %q: %v: %s; want status %d and %q", c.args, err, out, c.status, c.want)
		}
	}
}
