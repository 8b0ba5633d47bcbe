//go:build linux

package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/07-runtime/oci/systemd"
)

const (
	stateFile = "state.json"
	fifoFile  = "exec.fifo"
)

// record is state.json: what cannot be asked of the kernel.
type record struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"pid"` // 0 until the process is complete
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`

	// StartTime tells the process from a later one with the same pid: clock
	// ticks since boot, field 22 of /proc/PID/stat (proc_pid_stat(5)).
	StartTime uint64 `json:"startTime"`
	// Cgroup is its path in every hierarchy. It is written before the cgroup is
	// made; CgroupMade says that it is ours, and what is in it too.
	Cgroup     string `json:"cgroup"`
	CgroupMade bool   `json:"cgroupMade"`
	// Unit is what systemd made the cgroup for, where it did.
	Unit *systemd.Unit `json:"unit,omitempty"`

	// RDT is the container's part of Intel RDT.
	RDT *rdt `json:"intelRdt,omitempty"`

	// NoProcess: the config has none, so the container can be entered and not started.
	NoProcess bool `json:"noProcess,omitempty"`

	// HostMounts: the container has no mount namespace, so its mounts are this one's.
	HostMounts bool `json:"hostMounts,omitempty"`

	// Pids is the limit of processes, for start: see [cgroups.Cgroup.Started].
	Pids *specs.LinuxPids `json:"pids,omitempty"`

	// Notify: the program says when it is ready, at a socket in ROOT/ID/notify.
	Notify bool `json:"notify,omitempty"`

	Poststart []specs.Hook `json:"poststart,omitempty"`
	Poststop  []specs.Hook `json:"poststop,omitempty"`
}

// State is what the state command reports: the specification's fields, and
// those that runc adds.
type State struct {
	Version     string               `json:"ociVersion"`
	ID          string               `json:"id"`
	Pid         int                  `json:"pid"` // 0 when stopped
	Status      specs.ContainerState `json:"status"`
	Bundle      string               `json:"bundle"`
	Rootfs      string               `json:"rootfs"`
	Created     time.Time            `json:"created"`
	Annotations map[string]string    `json:"annotations,omitempty"`
	Owner       string               `json:"owner"`
}

func (c *container) save() error {
	b, err := json.Marshal(&c.record)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(c.dir, stateFile), b)
}

// writeFile writes a file completely or not at all. It is not synced: after a
// power cut there is no container that it could describe.
func writeFile(path string, b []byte) error {
	if err := os.WriteFile(path+".tmp", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// load reads state.json. ErrNotExist: a container that was being created, or
// deleted, when its runtime was killed.
func (c *container) load() error {
	b, err := os.ReadFile(filepath.Join(c.dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotExist
	}
	if err != nil {
		return err
	}
	return parseState(b, &c.record)
}

// parseState decodes a state.json.
func parseState(b []byte, r *record) error {
	if err := json.Unmarshal(b, r); err != nil {
		return fmt.Errorf("%s: %w", stateFile, err)
	}
	if r.Pid < 0 {
		return fmt.Errorf("%s: pid %d: want a process id", stateFile, r.Pid)
	}
	return nil
}

// status asks the kernel in which state the container is.
func (c *container) status() specs.ContainerState {
	switch {
	case c.Pid == 0 && c.lock == nil && locked(c.dir):
		return specs.StateCreating
	case c.Pid == 0 || startTime(c.Pid) != c.StartTime:
		return specs.StateStopped
	}
	if c.paused() {
		return StatePaused
	}
	if _, err := os.Lstat(c.fifo()); err == nil {
		return specs.StateCreated
	}
	return specs.StateRunning
}

func (c *container) fifo() string { return filepath.Join(c.dir, fifoFile) }

func (c *container) state() State {
	s := State{
		Version: c.Version, ID: c.ID, Pid: c.Pid, Status: c.status(), Bundle: c.Bundle, Rootfs: c.Rootfs,
		Created: c.Created, Annotations: c.Annotations,
	}
	if s.Status == specs.StateStopped {
		s.Pid = 0
	}
	return s
}

// hookState is what hooks get on their standard input.
func (c *container) hookState(pid int, status specs.ContainerState) specs.State {
	return specs.State{Version: c.Version, ID: c.ID, Status: status, Pid: pid, Bundle: c.Bundle, Annotations: c.Annotations}
}

// startTime returns when a process was started, in clock ticks since boot, or
// 0 when there is none, or only its zombie.
func startTime(pid int) uint64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// The second field is the program's name in parentheses, and may hold anything.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 20 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return 0
	}
	t, _ := strconv.ParseUint(string(fields[19]), 10, 64)
	return t
}

// locked reports whether an invocation is at work on the container.
func locked(dir string) bool {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK
}
