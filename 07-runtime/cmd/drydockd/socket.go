//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// groups may use the socket: the first of them that the host has, else root's.
var groups = []string{"drydock", "docker"}

// listen makes the socket at path. It is made under another name and renamed,
// so that it is never there with the wrong mode, nor unconnected, and a stale
// one that a killed daemon left is replaced.
func listen(path string) (*net.UnixListener, error) {
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
	return l, nil
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

// refuse lets the kernel refuse whoever connects from now on, with
// ECONNREFUSED. Who connected before stays in the queue and is accepted; when the
// queue is empty, accept fails. Closing the listener would drop the queue.
func refuse(l *net.UnixListener) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_RD) }); cerr != nil {
		return cerr
	}
	return os.NewSyscallError("shutdown", err)
}
