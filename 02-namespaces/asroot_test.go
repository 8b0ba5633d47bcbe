//go:build linux

package namespaces

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

func init() {
	roles["as root"] = asRoot
	roles["dies while it maps"] = func() error {
		self, err := os.Open("/proc/self/exe")
		if err != nil {
			return err
		}
		f := &fork{
			flags: unix.CLONE_NEWUSER, program: self, argv: []string{"none"}, files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
			mapIDs: func(int) error { return unix.Kill(os.Getpid(), unix.SIGKILL) },
		}
		_, err = f.start()
		return err
	}
	roles["as root, forbidden"] = func() error {
		if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
			return err
		}
		status, err := AsRoot(context.Background())
		return fmt.Errorf("status %d: %w", status, err)
	}
}

// asRoot is a program of an ordinary user, and what it is when it is root.
func asRoot() error {
	if os.Geteuid() != 0 {
		status, err := AsRoot(context.Background(), "one", "two")
		if err == nil {
			os.Exit(status)
		}
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM)
	uids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err
	}
	// What it may do in there: give the mounts of its own namespace a new one.
	if err := unix.Mount("tmpfs", "/tmp", "tmpfs", 0, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	fmt.Println(os.Args[1:], fields(string(uids)))
	<-signals
	os.Exit(7)
	return nil
}

// playing starts a role that goes on, and returns what it says from now on. Its
// standard output has an end when every process of it has ended.
func playing(t *testing.T, role string, attr *syscall.SysProcAttr) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envRole+"="+role)
	cmd.SysProcAttr, cmd.Stderr = attr, os.Stderr
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return cmd, r
}

// TestAsRoot: the second process is root in there, may mount, gets the first
// one's signals, and its status is the first one's.
func TestAsRoot(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces)
	host, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	cmd, said := playing(t, "as root", nobody)
	line := make([]byte, 64)
	n, err := said.Read(line)
	if want := "[one two] 0 65534 1\n"; err != nil || string(line[:n]) != want {
		t.Errorf("%v: %q, want %q", err, line[:n], want)
	}
	if now, err := os.ReadFile("/proc/self/mountinfo"); err != nil || string(now) != string(host) {
		t.Errorf("its mount is seen outside (%v):\n%s", err, now)
	}
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("%v, want status 7", err)
	}
}

func TestADeadUserTakesHisRootAlong(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces)
	for _, c := range []struct {
		role string
		dies func(*exec.Cmd, io.Reader) error
	}{
		{"as root", func(cmd *exec.Cmd, said io.Reader) error {
			if _, err := said.Read(make([]byte, 64)); err != nil {
				return err
			}
			return cmd.Process.Kill()
		}},
		// By itself, and the new process has not come further than the wait for its map.
		{"dies while it maps", func(*exec.Cmd, io.Reader) error { return nil }},
	} {
		cmd, said := playing(t, c.role, nobody)
		if err := c.dies(cmd, said); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
			t.Errorf("%s: %v", c.role, err)
		}
		if rest, err := io.ReadAll(said); err != nil || len(rest) > 0 {
			t.Errorf("%s: %v: %s", c.role, err, rest)
		}
	}
}

// TestAsRootForbidden asks in a user namespace in which no further one may be
// made: a setting of its own, not the host's.
func TestAsRootForbidden(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces)
	out := started(t, "as root, forbidden", inUserNamespace(0))
	for _, want := range []string{"status 125: this takes root, and a user namespace, in which you would be root, cannot be had: ", "user.max_user_namespaces is 0", "sudo sysctl -w user.max_user_namespaces=15000"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s\nlacks %q", out, want)
		}
	}
}
