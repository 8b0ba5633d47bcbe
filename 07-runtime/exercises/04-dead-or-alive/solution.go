//go:build linux && solution

// Package deadoralive is an exercise of chapter 7.
package deadoralive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Status says in which state the container is whose directory dir is
// (ROOT/ID): created, running or stopped.
func Status(dir string) (specs.ContainerState, error) {
	text, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		return "", err
	}
	var state struct {
		Pid       int
		StartTime json.Number
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return "", err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", state.Pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return specs.StateStopped, nil
	}
	if err != nil {
		return "", err
	}
	// Behind the name: field 3 is the first.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if how := fields[0][0]; how == 'Z' || how == 'X' || string(fields[22-3]) != state.StartTime.String() {
		return specs.StateStopped, nil
	}
	if _, err := os.Stat(filepath.Join(dir, "exec.fifo")); err == nil {
		return specs.StateCreated, nil
	}
	return specs.StateRunning, nil
}
