//go:build linux

package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// limited is set in the environment of a copy of the test binary that is limit.
const limited = "LIMIT_TEST_COMMAND"

// handOver gives a cgroup to the ordinary user, on v1 by chown(2) alone.
func handOver(t *testing.T, c *cgroups.Cgroup) {
	t.Helper()
	err := c.Delegate(t.Context(), hosttest.Ordinary, hosttest.Ordinary)
	if errdefs.IsFailedPrecondition(err) {
		err = nil
		for _, dir := range c.Paths() {
			for _, name := range []string{"", "/cgroup.procs", "/tasks", "/cgroup.subtree_control"} {
				if e := os.Chown(dir+name, hosttest.Ordinary, hosttest.Ordinary); !errors.Is(e, fs.ErrNotExist) {
					err = errors.Join(err, e)
				}
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestAnOrdinaryUsersLimit runs the whole program as a user to whom root has
// handed a part of the tree, as systemd does for each who logs in. On v1, where
// that is no safe thing to do (see [cgroups.Cgroup.Delegate]), root may still do it.
func TestAnOrdinaryUsersLimit(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces)
	create := func(name string, r *specs.LinuxResources) *cgroups.Cgroup {
		c, err := cgroups.Create(t.Context(), hosttest.Cgroup()+name, r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(c.Kill(context.Background()), c.Delete(context.Background())); err != nil {
				t.Error(err)
			}
		})
		return c
	}
	most := int64(200)
	part := create("/user", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &most}})
	home := create("/user/home", nil) // the user's first process stands in a leaf
	for _, c := range []*cgroups.Cgroup{part, home} {
		handOver(t, c)
	}
	limit := func(args ...string) (string, int) {
		var out strings.Builder
		cmd := exec.Command("/proc/self/exe", args...)
		cmd.Env = append(os.Environ(), limited+"=1", "HOME=/", "TMPDIR=/tmp")
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: hosttest.Ordinary, Gid: hosttest.Ordinary}}
		if err := home.StartCommand(t.Context(), cmd); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return out.String(), cmd.ProcessState.ExitCode()
	}
	cmd := exec.Command("/proc/self/exe", "true")
	cmd.Env = append(os.Environ(), limited+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: hosttest.Ordinary, Gid: hosttest.Ordinary}}
	if out, err := cmd.CombinedOutput(); !strings.Contains(string(out), "permission denied: an ordinary user needs a part of the cgroup tree") {
		t.Errorf("outside of any part that is his: %v, %s", err, out)
	}
	for _, test := range []struct {
		args   []string
		want   string
		status int
	}{
		{[]string{"--pids", "20", "--name", "box", "sh", "-c", "id -u; exit 7"}, "0\n", 7},
		{[]string{"-m", "32m", "--name", "box", "tail", "/dev/zero"}, "limit: out of memory: the kernel killed 1\n", 137},
		{[]string{"--pids", "1", "--name", "box", "sh", "-c", "while :; do true & done"}, "Cannot fork\n", 2},
		{[]string{"stat"}, "limit: stat without a name shows all of root's: give names\n", 1},
		{[]string{"stat", "box"}, "limit: no cgroup box\n", 1},
	} {
		if said, status := limit(test.args...); !strings.HasSuffix(said, test.want) || status != test.status {
			t.Errorf("limit %q: %d, %s\nwant %d, %s", test.args, status, said, test.status, test.want)
		}
	}
}
