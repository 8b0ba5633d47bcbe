//go:build linux && (exercise || solution)

package anothername

import (
	"os"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestHostname(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	before, _ := os.Hostname()
	host, _ := os.Readlink("/proc/self/ns/uts")
	out, err := Hostname("exercise", "/bin/sh", "-c", "cat /proc/sys/kernel/hostname; readlink /proc/self/ns/uts")
	if err != nil {
		t.Fatalf("Hostname: %v", err)
	}
	lines := strings.Fields(out)
	if len(lines) != 2 || lines[0] != "exercise" {
		t.Errorf("the program saw %q: the name must be set where the program is, before it begins", out)
	}
	if len(lines) == 2 && lines[1] == host {
		t.Error("the program was in the host's UTS namespace: whose name did you change?")
	}
	for range 100 {
		if now, _ := os.Hostname(); now != before {
			t.Fatalf("the host is called %q now: a thread came back from the new namespace", now)
		}
	}
}
