//go:build linux

package oci

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// notifyInside is the directory of the socket as the container sees it.
const notifyInside = "/run/notify"

// A notification takes what a program says at its socket to the one of who
// started the container, as sd_notify(3) has it. The host's socket itself is
// not let in: it would be the container's word about any service.
type notification struct {
	inside, host *net.UnixConn
}

func (c *container) notifyDir() string { return filepath.Join(c.dir, "notify") }

// makeNotify prepares the directory in which the socket will be, and tells the
// program where that is.
func (c *container) makeNotify(spec *specs.Spec) error {
	if err := os.Mkdir(c.notifyDir(), 0o755); err != nil {
		return err
	}
	spec.Mounts = append(spec.Mounts, specs.Mount{
		Destination: notifyInside, Source: c.notifyDir(), Type: "bind", Options: []string{"bind", "nosuid", "noexec", "nodev", "ro"},
	})
	spec.Process.Env = append(spec.Process.Env, "NOTIFY_SOCKET="+notifyInside+"/notify.sock")
	c.Notify = true
	return c.save()
}

// listenNotify makes the socket, before the program runs that will look for it.
func (c *container) listenNotify(host string) (*notification, error) {
	to, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: host, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	// By a descriptor: a socket's name has 108 bytes, and a state directory may have more.
	dir, err := os.Open(c.notifyDir())
	if err != nil {
		to.Close()
		return nil, err
	}
	defer dir.Close()
	path := fmt.Sprintf("/proc/self/fd/%d/notify.sock", dir.Fd())
	inside, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		to.Close()
		return nil, err
	}
	n := &notification{inside, to}
	// The program may have any user.
	if err := os.Chmod(path, 0o777); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *notification) close() {
	n.inside.Close()
	n.host.Close()
}

// relay waits until the program is ready and says so, with the process id that
// the host knows it by. It returns also when the container ends.
func (n *notification) relay(ctx context.Context, c *container) error {
	ctx, cancel := context.WithCancel(ctx)
	ended, err := c.exit(ctx)
	if err == ErrNotRunning {
		cancel()
		return nil
	}
	if err != nil {
		cancel()
		return err
	}
	watched := make(chan struct{})
	go func() {
		<-ended
		n.inside.SetReadDeadline(time.Unix(1, 0)) // wakes the read below
		close(watched)
	}()
	defer func() {
		cancel()
		<-watched
	}()
	for buf := make([]byte, 4096); ; {
		k, err := n.inside.Read(buf)
		if err != nil {
			return nil // it ended, and never was ready
		}
		for line := range bytes.Lines(buf[:k]) {
			if line = bytes.TrimSpace(line); bytes.HasPrefix(line, []byte("READY=")) {
				_, err := fmt.Fprintf(n.host, "%s\nMAINPID=%d\n", line, c.Pid)
				return err
			}
		}
	}
}
