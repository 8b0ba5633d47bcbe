//go:build linux && (exercise || solution)

package thelastone

import (
	"context"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestAwaitEmpty(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	cgroup, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/last", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		cgroup.Kill(context.Background())
		cgroup.Delete(context.Background())
	}()
	dir, ok := cgroup.Paths()[""]
	if !ok {
		t.Skip("requires a mounted cgroup v2 hierarchy")
	}
	events, err := os.Open(dir + "/cgroup.events")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	var reads atomic.Int32
	read := func() (string, error) {
		reads.Add(1)
		buf := make([]byte, 256)
		n, _ := events.ReadAt(buf, 0)
		return string(buf[:n]), nil
	}

	// Two processes, so that the end of the first is not the end.
	cmd := exec.Command("/bin/sh", "-c", "sleep 0.3 & exit 0")
	if err := cgroup.StartCommand(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	done := make(chan error, 1)
	go func() { done <- AwaitEmpty(events, read) }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatalf("AwaitEmpty: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the cgroup has been empty for seconds: did you read the file before you waited for it to change, and ask poll for POLLPRI?")
	}
	if content, _ := read(); content != "populated 0\nfrozen 0\n" {
		t.Errorf("it returned while a process was inside: the first to leave is not the last\n%s", content)
	}
	if n := reads.Load(); n > 6 {
		t.Errorf("%d reads for one change: whoever asks again and again is a clock; let the kernel wake you", n)
	}

	// Nobody is inside: no notice will ever come.
	go func() { done <- AwaitEmpty(events, read) }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatalf("AwaitEmpty of an empty cgroup: %v", err)
		}
	case <-time.After(3 * time.Second):
		t.Fatal("it waits for a cgroup that is empty already: look before you wait")
	}
}
