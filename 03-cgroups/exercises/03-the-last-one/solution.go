//go:build linux && solution

// Package thelastone is an exercise of chapter 3.
package thelastone

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// AwaitEmpty returns when the cgroup to which events, its open cgroup.events,
// belongs has no process. read returns the file's present content.
func AwaitEmpty(events *os.File, read func() (string, error)) error {
	for {
		// Read first: what changes from here on wakes the poll.
		content, err := read()
		if err != nil || strings.Contains(content, "populated 0\n") {
			return err
		}
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(events.Fd()), Events: unix.POLLPRI}}, -1)
		if err != nil && err != unix.EINTR {
			return err
		}
	}
}
