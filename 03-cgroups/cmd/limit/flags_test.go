//go:build linux

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

// TestBadInput runs the whole program with each flag's wrong values: the status
// is a shell's, and the message says what to give.
func TestBadInput(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	for _, test := range []struct {
		args   string
		status int
		want   string
	}{
		{"", 2, "usage: limit "},
		{"plot", 2, "usage: limit "},
		{"--nosuch true", 2, "flag provided but not defined: -nosuch"},
		{"-o x.svg true", 2, "flag provided but not defined: -o"},
		{"--explain=maybe true", 2, `invalid boolean value "maybe" for -explain`},
		{"--stats=maybe true", 2, `invalid boolean value "maybe" for -stats`},
		{"--pids many true", 2, `invalid value "many" for flag -pids`},
		{"--pids 0 true", 125, "limit: pids limit 0: give the number of tasks, at least 1; -1 is no limit"},
		{"--pids -7 true", 125, "limit: pids limit -7: give the number of tasks"},
		{"-m -5m true", 125, "limit: -m -5m: give a size such as 64m or 1g"},
		{"-m 1k true", 125, "limit: memory limit 1024: a container needs at least 6291456 bytes (6m)"},
		{"--cpus NaN true", 125, "limit: --cpus NaN: give a number of CPUs such as 0.5"},
		{"--cpus 0 true", 125, "limit: --cpus 0: give a number of CPUs such as 0.5"},
		{"--name a/b true", 125, `limit: name "a/b": give one part of a path, as in box`},
		{"--name= true", 125, `limit: name "": give one part of a path, as in box`},
		{"--name . true", 125, `limit: name ".": give one part of a path, as in box`},
		{"--root /etc/passwd true", 125, "limit: container init: root: "},
		{"--root /nosuch true", 125, "limit: container init: root: "},
		{"--with /nosuch true", 125, `limit: exec: "/nosuch": stat /nosuch: no such file or directory`},
		{"plot -o /nosuch/x.svg true", 125, "limit: open /nosuch/x.svg: no such file or directory"},
		{"stat nosuch", 1, "limit: no cgroup /drydock/nosuch"},
		{"stat ..", 1, `limit: name "..": give one part of a path, as in box`},
		{"stat .", 1, `limit: name ".": give one part of a path, as in box`},
		{"nosuch", 127, `limit: exec: "nosuch": executable file not found in $PATH`},
		{"/etc/passwd", 126, "limit: "},
	} {
		cmd := exec.Command("/proc/self/exe", strings.Fields(test.args)...)
		cmd.Env = append(os.Environ(), limited+"=1")
		out, _ := cmd.CombinedOutput()
		if status := cmd.ProcessState.ExitCode(); status != test.status || !strings.HasPrefix(string(out), test.want) {
			t.Errorf("limit %s:\ngot  %d %s\nwant %d %s", test.args, status, out, test.status, test.want)
		}
	}
}
