//go:build linux && (exercise || solution)

package join

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestJoin(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	container := exec.Command("/bin/cat")
	container.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID}
	hold, err := container.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := container.Start(); err != nil {
		t.Fatal(err)
	}
	defer container.Wait()
	defer hold.Close()
	pid := container.Process.Pid
	before := own(t)

	out, err := Join(pid, "/bin/sh", "-c", "echo $$; readlink /proc/self/ns/uts /proc/self/ns/net")
	if err != nil {
		t.Fatalf("Join: %v", err)
	}
	lines := strings.Fields(out)
	if len(lines) == 0 || len(lines[0]) > 2 {
		t.Errorf("the program printed %q: its process id should be small, as counted in the container", out)
	}
	for _, kind := range []string{"uts", "net"} {
		want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out, want) {
			t.Errorf("the program was not in the %s namespace %s: it printed %q", kind, want, out)
		}
	}
	for range 100 {
		if now := own(t); now != before {
			t.Fatalf("this program's threads are in %s now, and were in %s: a thread came back from the container", now, before)
		}
	}
	if _, err := Join(1<<30, "/bin/true"); err == nil {
		t.Error("no error for a process that does not exist")
	}
}

// own names the namespaces of whichever thread runs this.
func own(t *testing.T) string {
	t.Helper()
	var all []string
	for _, kind := range []string{"uts", "net", "pid_for_children"} {
		link, err := os.Readlink("/proc/thread-self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, link)
	}
	return strings.Join(all, " ")
}
