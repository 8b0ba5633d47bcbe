//go:build linux

package networking

import (
	"errors"
	"fmt"
	"os"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Reservation holds a port of the host. The kernel releases it when it is
// closed or when its process ends.
type Reservation struct {
	Port Port // with HostPort chosen
	file *os.File
}

// Close gives the port back.
func (r *Reservation) Close() error { return r.file.Close() }

// Reserve takes p's host port, so that no other program and no other engine on
// this host gets it while the rules send its traffic to a container. With
// HostPort 0 the kernel chooses a free one. A port that someone else has is an
// errdefs.ErrAlreadyExists.
//
// Nothing is ever received on the socket: the rules of [Network.Connect] act
// before a packet gets so far. Where there are none, a TCP client is refused at
// once and does not wait in the queue of a listener that nobody reads.
func Reserve(p Port) (*Reservation, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	kind := unix.SOCK_STREAM
	if p.Protocol == "udp" {
		kind = unix.SOCK_DGRAM
	}
	if p.HostPort == 0 && kind == unix.SOCK_STREAM {
		chosen, err := choose(&p)
		if err != nil {
			return nil, err
		}
		defer chosen.Close()
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	r := &Reservation{Port: p, file: os.NewFile(uintptr(fd), "port "+p.String())}
	if err := hold(fd, kind, p); err != nil {
		r.Close()
		if errors.Is(err, unix.EADDRINUSE) {
			return nil, errdefs.ErrAlreadyExists.WithMessage(
				fmt.Sprintf("port %d/%s on %s is in use: %v", p.HostPort, p.Protocol, p.hostIP(), err))
		}
		return nil, fmt.Errorf("reserve port %d/%s on %s: %w", p.HostPort, p.Protocol, p.hostIP(), err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		r.Close()
		return nil, os.NewSyscallError("getsockname", err)
	}
	r.Port.HostPort = uint16(sa.(*unix.SockaddrInet4).Port)
	return r, nil
}

// choose has the kernel choose p's host port, and keeps it from being chosen
// again until the file is closed. A socket whose port the kernel chose loses it
// as soon as it stops listening; one that named it keeps it. So the port is
// chosen with this socket and held with another, which may share it because
// both have SO_REUSEADDR and this one never listens.
func choose(p *Port) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "a free port")
	err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet4{Addr: p.hostIP().As4()}))
	}
	var sa unix.Sockaddr
	if err == nil {
		sa, err = unix.Getsockname(fd)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("choose a port on %s: %w", p.hostIP(), err)
	}
	p.HostPort = uint16(sa.(*unix.SockaddrInet4).Port)
	return f, nil
}

// hold binds fd to p's host address and port so that nobody else can.
func hold(fd, kind int, p Port) error {
	address := &unix.SockaddrInet4{Port: int(p.HostPort), Addr: p.hostIP().As4()}
	if kind == unix.SOCK_DGRAM {
		return os.NewSyscallError("bind", unix.Bind(fd, address))
	}
	// With SO_REUSEADDR the last connections of a server that has gone
	// (TIME_WAIT) do not count as users of the port. But two sockets that both
	// have it and do not listen can share a port: listen(2) is where the kernel
	// decides, so we listen, drop the option, and stop listening. What is left
	// is a port that is bound, exclusively, and refuses connections.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, address); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		return os.NewSyscallError("listen", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_RD))
}
