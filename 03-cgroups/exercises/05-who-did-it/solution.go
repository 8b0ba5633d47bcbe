//go:build linux && solution

// Package whodidit is an exercise of chapter 3.
package whodidit

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// Cause says how the program of a cgroup ended: "exited", "killed" by a signal
// that somebody sent, or "out of memory". dir is the cgroup's directory in the
// hierarchy with the memory controller.
func Cause(dir string, status syscall.WaitStatus) (string, error) {
	if !status.Signaled() {
		return "exited", nil
	}
	counters, err := os.ReadFile(dir + "/memory.events")
	if errors.Is(err, fs.ErrNotExist) {
		counters, err = os.ReadFile(dir + "/memory.oom_control")
	}
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(counters)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok && strings.TrimSpace(count) != "0" && status.Signal() == syscall.SIGKILL {
			return "out of memory", nil
		}
	}
	return "killed", nil
}
