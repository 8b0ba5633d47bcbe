//go:build linux

package networking

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Reservation holds a port of the host. The kernel releases it when it is
// closed or when its process ends.
type Reservation struct {
	Port  Port // with HostPort chosen
	file  *os.File
	relay *relay // nil: nothing is received
}

// Close gives the port back, and ends the connections of a [Reservation.Relay].
func (r *Reservation) Close() error {
	if r.relay != nil {
		r.relay.close()
	}
	return r.file.Close()
}

// Reserve takes p's host port, so that no other program and no other engine on
// this host gets it while the rules send its traffic to a container. With
// HostPort 0 the kernel chooses a free one. A port that someone else has is an
// errdefs.ErrAlreadyExists; SCTP on a kernel without it an errdefs.ErrNotImplemented.
//
// Nothing is ever received on the socket, unless by [Reservation.Relay]: the rules
// of [Network.Connect] act before a packet gets so far. Where there are none, a
// TCP client is refused at once and does not wait in the queue of a listener
// that nobody reads.
func Reserve(p Port) (*Reservation, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	// A bound port of UDP or SCTP is taken: neither has connections that outlive their server.
	listens := p.Protocol == "tcp"
	if p.HostPort == 0 && listens {
		chosen, err := choose(&p)
		if err != nil {
			return nil, err
		}
		defer chosen.Close()
	}
	f, err := portSocket(p)
	if err != nil {
		return nil, err
	}
	r := &Reservation{Port: p, file: f}
	if err := hold(int(f.Fd()), listens, p); err != nil {
		r.Close()
		if errors.Is(err, unix.EADDRINUSE) {
			return nil, errdefs.ErrAlreadyExists.WithMessage(
				fmt.Sprintf("port %d/%s on %s is in use: %v", p.HostPort, p.Protocol, p.host(), err))
		}
		return nil, fmt.Errorf("reserve port %d/%s on %s: %w", p.HostPort, p.Protocol, p.host(), err)
	}
	if r.Port.HostPort, err = boundPort(f); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// portSocket makes a socket of p's protocol and family. One of IPv6 takes the
// port in IPv4 as well, when it is bound to all addresses and not told
// otherwise: a port on all addresses of the host is one socket.
func portSocket(p Port) (*os.File, error) {
	kind, protocol := unix.SOCK_STREAM, 0
	switch p.Protocol {
	case "udp":
		kind = unix.SOCK_DGRAM
	case "sctp":
		protocol = unix.IPPROTO_SCTP
	}
	family, v6only := unix.AF_INET6, 1
	if host := p.HostIP.Unmap(); !host.IsValid() {
		v6only = 0
	} else if host.Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if errors.Is(err, unix.EAFNOSUPPORT) && !p.HostIP.IsValid() {
		p.HostIP = netip.IPv4Unspecified() // a kernel without IPv6
		return portSocket(p)
	}
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, errdefs.ErrNotImplemented.WithMessage(fmt.Sprintf("port %s: this kernel has no SCTP; sudo modprobe sctp loads it, where it was built", p))
	}
	if err != nil {
		return nil, fmt.Errorf("a socket for port %s: %w", p, os.NewSyscallError("socket", err))
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, v6only); err != nil {
			unix.Close(fd)
			return nil, os.NewSyscallError("setsockopt", err)
		}
	}
	return os.NewFile(uintptr(fd), "port "+p.String()), nil
}

// choose has the kernel choose p's host port, and keeps it from being chosen
// again until the file is closed. A socket whose port the kernel chose loses it
// as soon as it stops listening; one that named it keeps it. So the port is
// chosen with this socket and held with another, which may share it because
// both have SO_REUSEADDR and this one never listens.
func choose(p *Port) (*os.File, error) {
	f, err := portSocket(*p)
	if err != nil {
		return nil, err
	}
	err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	if err == nil {
		err = bindPort(int(f.Fd()), *p)
	}
	if err == nil {
		p.HostPort, err = boundPort(f)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("choose a port on %s: %w", p.host(), err)
	}
	return f, nil
}

// bindPort gives the socket p's address and port, in the socket's family.
func bindPort(fd int, p Port) error {
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	var address unix.Sockaddr = &unix.SockaddrInet6{Port: int(p.HostPort), Addr: p.hostIP(netip.IPv6Unspecified()).As16()}
	if family == unix.AF_INET {
		address = &unix.SockaddrInet4{Port: int(p.HostPort), Addr: p.hostIP(netip.IPv4Unspecified()).As4()}
	}
	return os.NewSyscallError("bind", unix.Bind(fd, address))
}

func boundPort(f *os.File) (uint16, error) {
	sa, err := unix.Getsockname(int(f.Fd()))
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	if v6, ok := sa.(*unix.SockaddrInet6); ok {
		return uint16(v6.Port), nil
	}
	return uint16(sa.(*unix.SockaddrInet4).Port), nil
}

// hold binds fd to p's host address and port so that nobody else can.
func hold(fd int, listens bool, p Port) error {
	if !listens {
		return bindPort(fd, p)
	}
	// With SO_REUSEADDR the last connections of a server that has gone
	// (TIME_WAIT) do not count as users of the port. But two sockets that both
	// have it and do not listen can share a port: listen(2) is where the kernel
	// decides, so we listen, drop the option, and stop listening. What is left
	// is a port that is bound, exclusively, and refuses connections.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := bindPort(fd, p); err != nil {
		return err
	}
	if err := unix.Listen(fd, 0); err != nil {
		return os.NewSyscallError("listen", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_RD))
}
