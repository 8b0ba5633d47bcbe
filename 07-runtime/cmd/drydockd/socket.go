//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// groups may use the socket: the first of them that the host has, else root's.
var groups = []string{"drydock", "docker"}

// listen makes the socket at path. It is made under another name and renamed,
// so that it is never there with the wrong mode, nor unconnected, and a stale
// one that a killed daemon left is replaced.
func listen(path string) (*listener, error) {
	if most := len(unix.RawSockaddrUnix{}.Path) - len(".new") - 1; len(path) > most {
		return nil, fmt.Errorf("the socket's path has %d bytes, %s: the kernel takes %d; choose a shorter --state or --host", len(path), path, most)
	}
	made := path + ".new"
	if err := os.Remove(made); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := publish(made, path); err != nil {
		l.Close()
		os.Remove(made)
		return nil, err
	}
	return &listener{UnixListener: l}, nil
}

// publish gives the socket its owner and its name.
func publish(made, path string) error {
	gid := 0
	for _, name := range groups {
		group, err := user.LookupGroup(name)
		if err != nil {
			continue
		}
		if gid, err = strconv.Atoi(group.Gid); err != nil {
			return fmt.Errorf("group %s: %w", name, err)
		}
		break
	}
	// chown before chmod: the mode must not be valid for the old group.
	if err := os.Chown(made, 0, gid); err != nil {
		return err
	}
	if err := os.Chmod(made, 0o660); err != nil {
		return err
	}
	return os.Rename(made, path)
}

// served reports whether a process listens at path, and which.
func served(path string) (pid int32, alive bool) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return 0, false
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, true
	}
	_ = raw.Control(func(fd uintptr) {
		if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = peer.Pid
		}
	})
	return pid, true
}

// listener is the socket, which can be left without losing anybody.
type listener struct {
	*net.UnixListener
	refused atomic.Bool
}

// refuse lets the kernel refuse whoever connects from now on, with
// ECONNREFUSED. Who connected before stays in the queue, which Accept empties
// before it returns net.ErrClosed; closing the socket would drop the queue.
func (l *listener) refuse() error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_RD) }); cerr != nil {
		return cerr
	}
	if err != nil {
		return os.NewSyscallError("shutdown", err)
	}
	l.refused.Store(true)
	// A shutdown does not wake accept; a deadline does.
	return l.SetDeadline(time.Unix(1, 0))
}

// Accept returns the next connection.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.UnixListener.Accept()
	if !errors.Is(err, os.ErrDeadlineExceeded) || !l.refused.Load() {
		return conn, err
	}
	// Past its deadline Go does not look at the queue any more.
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	if cerr := raw.Control(func(l uintptr) { fd, _, err = unix.Accept4(int(l), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK) }); cerr != nil {
		return nil, cerr
	}
	if errors.Is(err, unix.EAGAIN) {
		return nil, net.ErrClosed
	}
	if err != nil {
		return nil, os.NewSyscallError("accept4", err)
	}
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	return net.FileConn(f)
}
