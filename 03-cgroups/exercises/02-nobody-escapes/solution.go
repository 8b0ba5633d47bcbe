//go:build linux && solution

// Package nobodyescapes is an exercise of chapter 3.
package nobodyescapes

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// KillAll ends every process in dir, a cgroup of the v2 hierarchy without
// children, by calls of kill, which sends SIGKILL to one. It returns when the
// signals are sent.
func KillAll(dir string, kill func(pid int) error) error {
	freeze := filepath.Join(dir, "cgroup.freeze")
	if err := os.WriteFile(freeze, []byte("1"), 0); err != nil {
		return err
	}
	defer os.WriteFile(freeze, []byte("0"), 0)
	if err := awaitFrozen(dir); err != nil {
		return err
	}
	pids, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(pids)) {
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			return err
		}
		if err := kill(pid); err != nil {
			return err
		}
	}
	return nil
}

// awaitFrozen sleeps until cgroup.events says so: each change wakes the poll.
func awaitFrozen(dir string) error {
	events, err := os.Open(filepath.Join(dir, "cgroup.events"))
	if err != nil {
		return err
	}
	defer events.Close()
	buf := make([]byte, 256)
	for {
		n, err := events.ReadAt(buf, 0)
		if n == 0 {
			return err
		}
		if bytes.Contains(buf[:n], []byte("frozen 1")) {
			return nil
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(events.Fd()), Events: unix.POLLPRI}}, -1); err != nil && err != unix.EINTR {
			return err
		}
	}
}
