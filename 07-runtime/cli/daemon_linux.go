package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// The default daemon's places; see drydockd --help.
const (
	stateDir    = "/run/drydock"
	defaultHost = "unix://" + stateDir + "/drydock.sock"
)

// idle is how long a daemon that a client has started stays without work.
const idle = "5m"

// mayStart reports whether this user may start the default daemon.
func mayStart() bool { return os.Geteuid() == 0 }

// nobodyListens reports whether err says that no daemon has the socket: there is
// none, or its process is gone.
func nobodyListens(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)
}

// startDaemon starts drydockd and returns when it serves the default socket. Two
// clients that do so at once start two, of which the second finds the first and leaves.
func startDaemon(ctx context.Context) error {
	path, err := findDaemon()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(stateDir, 0o711); err != nil {
		return err
	}
	logFile := filepath.Join(stateDir, "drydockd.log")
	log, err := os.OpenFile(logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	ready, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd := exec.Command(path, "--idle", idle)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "DRYDOCK_READY_FD=3")
	cmd.ExtraFiles = []*os.File{w}
	// A session of its own: neither the terminal's Ctrl-C nor its end reach the daemon.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	chapter.Call(ctx, "no daemon answers: start one, detached from this terminal", "execve(%q, %q)", path, cmd.Args)
	err = cmd.Start()
	w.Close()
	if err != nil {
		return err
	}
	// The pipe ends when the daemon has said how it went, or died.
	said, err := io.ReadAll(ready)
	if err != nil {
		return err
	}
	switch line := strings.TrimSpace(string(said)); line {
	case "ready":
		return cmd.Process.Release()
	case "":
		return fmt.Errorf("%s ended before it was ready; its log is %s", path, logFile)
	default:
		return errors.New(line)
	}
}

// findDaemon finds drydockd beside this program, so that a build directory works
// as it is, else in PATH.
func findDaemon() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), "drydockd")); err == nil {
		return path, nil
	}
	path, err := exec.LookPath("drydockd")
	if err != nil {
		return "", fmt.Errorf("drydockd is neither beside %s nor in PATH", self)
	}
	return path, nil
}
