//go:build linux

package overlayfs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"drydock.example/01-chroot/explain/stracetest"
	"drydock.example/01-chroot/hosttest"
	"golang.org/x/sys/unix"
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

// TestStackDrawsAndCommitsLater: what was written is kept, and looked at when
// nothing is mounted.
func TestStackDrawsAndCommitsLater(t *testing.T) {
	program, dir, base := stack(t)
	top := mkdirs(t, dir, "top/etc")[0]
	write(t, base+"/etc/motd", "base")
	write(t, top+"/motd", "top")
	if out, err := exec.Command(program, "--upper", dir+"/upper", base, dir+"/top", "--", "/bin/sh", "-c", "echo > /etc/new").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command(program, "--upper", dir+"/upper", "--picture", "/etc", "--commit", dir+"/layer.tar", base, dir+"/top").CombinedOutput()
	want := `C /etc
A /etc/new
           base  top  upper
/etc/motd  ·     ●
/etc/new              ●
● seen  ○ merged with it  · hidden  × whiteout
`
	if err != nil || string(out) != want {
		t.Errorf("%v: got\n%s\nwant\n%s", err, out, want)
	}
	if layer, err := exec.Command(program, "--picture", "/etc", base, dir+"/layer.tar").CombinedOutput(); err != nil || !strings.Contains(string(layer), "base  layer.tar\n/etc/motd  ●\n/etc/new         ●\n") {
		t.Errorf("%v: %s", err, layer)
	}
}

// TestStackForAnOrdinaryUser: a mount, a change and a commit, all without root.
func TestStackForAnOrdinaryUser(t *testing.T) {
	hosttest.Require(t, hosttest.UserNamespaces, hosttest.Kernel(5, 11))
	open := hosttest.OpenDir(t)
	program, dir, base := stack(t)
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(open+"/stack", content, 0o755); err != nil {
		t.Fatal(err)
	}
	// The tmpfs in which base lies is below a directory of root's: a second view.
	view := mkdirs(t, open, "view")[0]
	if err := unix.Mount(dir, view, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(view, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	err = filepath.WalkDir(view, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, hosttest.Ordinary, hosttest.Ordinary)
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, base+"/etc/removed", "")
	cmd := exec.Command(open+"/stack", "--commit", view+"/layer.tar", view+"/base", "--", "/bin/sh", "-c", "echo mine > /etc/new; read map < /proc/self/uid_map; echo $map")
	cmd.Dir, cmd.Env = "/", append(os.Environ(), "TMPDIR="+view)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: hosttest.Ordinary, Gid: hosttest.Ordinary}}
	out, err := cmd.CombinedOutput()
	if want := fmt.Sprintf("0 %d 1\nC /etc\nA /etc/new\n", hosttest.Ordinary); err != nil || string(out) != want {
		t.Fatalf("%v: got\n%s\nwant\n%s", err, out, want)
	}
	layer := mkdirs(t, dir, "layer")[0]
	if _, err := Unpack(t.Context(), layer, bytes.NewReader([]byte(read(t, dir+"/layer.tar")))); err != nil {
		t.Fatal(err)
	}
	if got := describe(t, layer)["etc/new"]; !strings.Contains(got, "owner=0:0") || read(t, layer+"/etc/new") != "mine\n" {
		t.Errorf("the layer's file is %s", got)
	}
	// Without root there is nobody to give a file to somebody else.
	write(t, dir+"/owned.tar", string(archive(t, regular("f", "").owned(5, 5))))
	cmd = exec.Command(open+"/stack", "--picture", "/", view+"/owned.tar")
	cmd.Dir, cmd.Env = "/", append(os.Environ(), "TMPDIR="+view)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: hosttest.Ordinary, Gid: hosttest.Ordinary}}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "chown 5:5: this user namespace has no such id") {
		t.Errorf("%v: %s", err, out)
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
		{[]string{"--", "/bin/sh"}, 2, "usage: stack"},
		{[]string{"--picture", "/none", base}, 125, "picture /none: not a directory"},
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
