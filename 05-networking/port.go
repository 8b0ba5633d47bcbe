package networking

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
)

// Port is one published port: what arrives at HostIP:HostPort goes to
// ContainerPort of the endpoint that has it.
type Port struct {
	HostIP        netip.Addr // 0.0.0.0: every IPv4 address of the host; [::]: every IPv6 one; the zero value: every one
	HostPort      uint16     // 0: [Reserve] chooses one
	ContainerPort uint16
	Protocol      string // "tcp", "udp" or "sctp"
}

// String writes the port as `docker ps` does: 0.0.0.0:8080->80/tcp, and one on
// all addresses as *:8080->80/tcp.
func (p Port) String() string {
	return fmt.Sprintf("%s->%d/%s", net.JoinHostPort(p.host(), strconv.Itoa(int(p.HostPort))), p.ContainerPort, p.Protocol)
}

// host is HostIP as messages have it.
func (p Port) host() string {
	if !p.HostIP.IsValid() {
		return "*"
	}
	return p.HostIP.Unmap().String()
}

// hostIP is the host's address for what goes to an address like to; the zero
// value where the port is not published in that family.
func (p Port) hostIP(to netip.Addr) netip.Addr {
	host := p.HostIP.Unmap()
	if !host.IsValid() && to.IsValid() {
		return unspecified(to)
	}
	if host.Is4() != to.Is4() {
		return netip.Addr{}
	}
	return host
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func (p Port) check() error {
	switch {
	case p.Protocol != "tcp" && p.Protocol != "udp" && p.Protocol != "sctp":
		return invalid("port %s: protocol %q is neither tcp nor udp nor sctp", p, p.Protocol)
	case p.ContainerPort == 0:
		return invalid("port %s: the container's port is missing", p)
	case p.HostIP.Zone() != "":
		return invalid("port %s: the host address has a zone; publish on all addresses, or on one without", p)
	}
	return nil
}

// ParsePort reads what stands after -p:
//
//	[[HOST-IP:][HOST-PORT[-END]]:]CONTAINER-PORT[-END][/tcp|/udp|/sctp]
//
// where an IPv6 HOST-IP stands in brackets.
//
// A range of host ports goes to a range of container ports of the same length;
// each pair is one Port. Where the host's port is missing it is 0. A mistake
// is an errdefs.ErrInvalidArgument.
func ParsePort(s string) ([]Port, error) {
	bad := func(format string, args ...any) ([]Port, error) {
		return nil, invalid("port %q: %s", s, fmt.Sprintf(format, args...))
	}
	rest, protocol, found := strings.Cut(s, "/")
	if !found {
		protocol = "tcp"
	}
	protocol = strings.ToLower(protocol)
	if protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
		return bad("protocol %q is neither tcp nor udp nor sctp", protocol)
	}

	// From the right, because an IPv6 address has colons of its own.
	host, container := "", rest
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		host, container = rest[:i], rest[i+1:]
	}
	first, last, err := portRange(container)
	if err != nil {
		return bad("container port: %v", err)
	}

	var ip netip.Addr
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		address := host[:i]
		host = host[i+1:]
		if address != "" {
			if ip, err = netip.ParseAddr(strings.Trim(address, "[]")); err != nil {
				return bad("%q is not an IP address", address)
			}
			ip = ip.Unmap()
		}
	}
	var hostFirst, hostLast uint16
	if host != "" {
		if hostFirst, hostLast, err = portRange(host); err != nil {
			return bad("host port: %v", err)
		}
		if hostLast-hostFirst != last-first {
			return bad("%d host ports for %d container ports", int(hostLast)-int(hostFirst)+1, int(last)-int(first)+1)
		}
	}

	ports := make([]Port, 0, int(last)-int(first)+1)
	for i := 0; i <= int(last)-int(first); i++ {
		p := Port{HostIP: ip, ContainerPort: first + uint16(i), Protocol: protocol}
		if host != "" {
			p.HostPort = hostFirst + uint16(i)
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// portRange reads "80" or "8000-8010".
func portRange(s string) (first, last uint16, err error) {
	from, to, isRange := strings.Cut(s, "-")
	if first, err = portNumber(from); err != nil {
		return 0, 0, err
	}
	if !isRange {
		return first, first, nil
	}
	if last, err = portNumber(to); err != nil {
		return 0, 0, err
	}
	if last < first {
		return 0, 0, fmt.Errorf("the range %s ends before it begins", s)
	}
	return first, last, nil
}

func portNumber(s string) (uint16, error) {
	// ParseUint takes no sign and, in base 10, no underscores.
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a number from 1 to 65535", s)
	}
	return uint16(n), nil
}

// invalid returns an errdefs.ErrInvalidArgument with a message of its own.
func invalid(format string, args ...any) error {
	return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf(format, args...))
}
