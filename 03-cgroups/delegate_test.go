//go:build linux

package cgroups_test

import (
	"context"
	"fmt"
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

// somebody is an ordinary user, of whom nobody else's process runs.
const somebody = 54321

func TestDelegation(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.CgroupV2)
	above := create(t, "delegated", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(50))}})
	if err := above.Delegate(t.Context(), somebody, somebody); err != nil {
		t.Fatal(err)
	}
	// The user's part begins above his first process: that one is in a leaf.
	home := create(t, "delegated/home", nil)
	p := startAs(t, home, &syscall.Credential{Uid: somebody, Gid: somebody}, "user")
	got := strings.Split(strings.TrimSpace(p.said), "\n")
	want := []string{
		"create: <nil>",
		"tasks: 10 <nil>",
		"inside: /delegated/box",
		"own limit: permission denied",
		"delete: <nil>",
	}
	for i, line := range want {
		if i >= len(got) || !strings.HasPrefix(got[i], strings.SplitAfter(line, ": ")[0]) || !strings.HasSuffix(got[i], strings.SplitN(line, ": ", 2)[1]) {
			t.Fatalf("got\n%s\nwant\n%s", p.said, strings.Join(want, "\n"))
		}
	}
}

func TestNoDelegationOnV1(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.CgroupV1)
	c := create(t, "delegated", nil)
	if err := c.Delegate(t.Context(), somebody, somebody); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("got %v", err)
	}
}

// playUser is what an ordinary user does in the part that is his.
func playUser() {
	c, err := cgroups.Create(context.Background(), "box", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(10))}})
	fmt.Println("create:", err)
	if err != nil {
		return
	}
	s, err := c.Stats()
	fmt.Println("tasks:", s.Pids.Limit, err)
	sed := exec.Command("/bin/sed", "s/^0::/inside: /", "/proc/self/cgroup")
	sed.Stdout = os.Stdout
	if err = c.StartCommand(context.Background(), sed); err == nil {
		err = sed.Wait()
	}
	if err != nil {
		fmt.Println(err)
	}
	// What is above the line is root's: the limit of his whole part.
	err = os.WriteFile(strings.TrimSuffix(c.Paths()[""], "/box")+"/pids.max", []byte("max"), 0)
	fmt.Println("own limit:", err)
	fmt.Println("delete:", c.Delete(context.Background()))
}
