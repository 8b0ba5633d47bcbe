//go:build linux

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

// envDoctor is set in the child that is the program itself.
const envDoctor = "DOCTOR"

func TestMain(m *testing.M) {
	if os.Getenv(envDoctor) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(hosttest.Run(m))
}

func TestArguments(t *testing.T) {
	for args, c := range map[string]struct {
		want   string
		status int
	}{
		"me":              {`doctor: unexpected argument "me"; see doctor --help`, 2},
		"--nosuch":        {"flag provided but not defined: -nosuch", 2},
		"--explain=maybe": {`invalid boolean value "maybe" for -explain`, 2},
		"--help":          {"Usage: doctor [--explain]", 0},
	} {
		cmd := exec.Command("/proc/self/exe", args)
		cmd.Env = append(os.Environ(), envDoctor+"=1")
		out, _ := cmd.CombinedOutput()
		if !strings.HasPrefix(string(out), c.want) || cmd.ProcessState.ExitCode() != c.status {
			t.Errorf("doctor %s: status %d, want %d: %s\nwant %s", args, cmd.ProcessState.ExitCode(), c.status, out, c.want)
		}
	}
}
