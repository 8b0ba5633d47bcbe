//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) {
	if os.Getenv(limited) != "" {
		os.Exit(command(os.Args[1:]))
	}
	os.Exit(hosttest.Run(m))
}

func TestWhatCannotRunLeavesNothing(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	for i, test := range []struct {
		o      options
		args   []string
		status int
		want   string
	}{
		{options{memory: "much"}, nil, 125, "-m much: give a size such as 64m or 1g"},
		{options{memory: "5m"}, nil, 125, "memory limit 5242880: a container needs at least 6291456 bytes (6m); -1 is no limit"},
		{options{cpus: "none"}, nil, 125, "--cpus none: give a number of CPUs such as 0.5"},
		{options{cpus: "-1"}, nil, 125, "--cpus -1: give a number of CPUs such as 0.5"},
		{options{cpus: "0.001"}, nil, 125, "CPU quota 100µs: give at least 1000 (1ms) in each period"},
		{options{name: "../up"}, nil, 125, `name "../up": give one part of a path, as in box`},
		{options{name: ".."}, nil, 125, `name "..": give one part of a path, as in box`},
		{options{root: "/nosuch"}, nil, 125, "container init: root: "},
		{options{}, []string{"nosuch"}, 127, `exec: "nosuch": executable file not found in $PATH`},
		{options{}, []string{"/etc/passwd"}, 126, ""},
	} {
		o := test.o
		if o.name == "" {
			o.name = fmt.Sprintf("limit-test-%d", i)
		}
		if o.root == "" {
			o.root = "/"
		}
		if o.pids == 0 {
			o.pids = -1
		}
		args := test.args
		if args == nil {
			args = []string{"true"}
		}
		status, err := run(t.Context(), o, args)
		if status != test.status || err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%+v %q:\ngot  %d %v\nwant %d %s", o, args, status, err, test.status, test.want)
		}
		for _, pattern := range []string{"/sys/fs/cgroup/drydock/", "/sys/fs/cgroup/*/drydock/"} {
			if left, _ := filepath.Glob(pattern + o.name); len(left) > 0 && o.name != ".." {
				t.Errorf("%+v: left %v", o, left)
			}
		}
	}
}

func TestTheStatusIsTheProgramsOwn(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	for command, want := range map[string]int{"exit 0": 0, "exit 7": 7} {
		status, err := run(t.Context(), options{name: "limit-test", root: "/", pids: -1, memory: "64m", cpus: "1"}, []string{"/bin/sh", "-c", command})
		if err != nil || status != want {
			t.Errorf("%s: %d, %v", command, status, err)
		}
	}
	if status, err := stat(t.Context(), []string{"limit-test"}); status != 1 || err == nil || err.Error() != "no cgroup /drydock/limit-test" {
		t.Errorf("stat of what is gone: %d, %v", status, err)
	}
}
