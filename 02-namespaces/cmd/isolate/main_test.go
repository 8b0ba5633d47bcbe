//go:build linux

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) {
	if os.Getenv("ISOLATE") != "" {
		main()
	}
	os.Exit(hosttest.Run(m))
}

func TestBadInput(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	for _, c := range []struct {
		args   string
		want   string
		status int
	}{
		{"", "usage: isolate", 2},
		{"/", "usage: isolate", 2},
		{"--nosuch / true", "flag provided but not defined: -nosuch", 2},
		{"--time soon / true", `invalid value "soon" for flag -time`, 2},
		{"--join self true", `invalid value "self" for flag -join`, 2},
		{"--join 1", "usage: isolate", 2},
		{"--join 1073741824 true", "isolate: process 1073741824: pidfd_open: ", 125},
		{"/nosuch true", "isolate: container init: root: open_tree /nosuch: no such file or directory", 125},
		{"--init=maybe / true", `invalid boolean value "maybe" for -init`, 2},
		{"--user=maybe / true", `invalid boolean value "maybe" for -user`, 2},
		{"--explain=maybe / true", `invalid boolean value "maybe" for -explain`, 2},
		{"--hostname", "flag needs an argument: -hostname", 2},
		{"--hostname " + strings.Repeat("x", 65) + " / true", `isolate: container init: `, 125},
		{"--seccomp /nosuch / true", "isolate: open /nosuch: no such file or directory", 125},
		{"--seccomp /etc/passwd / true", "isolate: --seccomp /etc/passwd: invalid character", 125},
		{"--join 1 --hostname x true", "isolate: --hostname makes a container, and --join enters one that is there: give one of them", 2},
		{"--join -5 true", "isolate: process -5: pidfd_open: invalid argument", 125},
		{"ls me", "usage: isolate", 2},
		{"ls 1 2", "usage: isolate", 2},
		{"ls 1073741824", "isolate: stat /proc/1073741824: no such file or directory", 1},
	} {
		cmd := exec.Command("/proc/self/exe", strings.Fields(c.args)...)
		cmd.Env = append(os.Environ(), "ISOLATE=1")
		out, _ := cmd.CombinedOutput()
		if !strings.HasPrefix(string(out), c.want) || cmd.ProcessState.ExitCode() != c.status {
			t.Errorf("isolate %s: status %d, want %d: %s\nwant %s", c.args, cmd.ProcessState.ExitCode(), c.status, out, c.want)
		}
	}
}
