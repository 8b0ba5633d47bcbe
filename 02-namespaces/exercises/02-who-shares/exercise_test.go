//go:build linux && (exercise || solution)

package whoshares

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestShared(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command("/bin/cat")
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer w.Close()
	got, err := Shared(os.Getpid(), cmd.Process.Pid)
	if err != nil {
		t.Fatalf("Shared: %v", err)
	}
	for _, kind := range []string{"uts", "net"} {
		if slices.Contains(got, kind) {
			t.Errorf("%q is listed, and the second process has its own", kind)
		}
	}
	for _, kind := range []string{"mnt", "ipc", "pid", "user"} {
		if !slices.Contains(got, kind) {
			t.Errorf("%q is not listed, and both are in the same one", kind)
		}
	}
	if !slices.IsSorted(got) || strings.Contains(strings.Join(got, " "), "_for_children") {
		t.Errorf("%q: want the process's own namespaces, sorted", got)
	}
	if _, err := Shared(os.Getpid(), 1<<30); err == nil {
		t.Error("no error for a process that does not exist")
	}
}
