//go:build linux

package engine

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	networking "drydock.example/05-networking"
)

// publication reads a port binding: the candidates of which one is to be reserved.
func publication(port network.Port, b network.PortBinding) ([]networking.Port, error) {
	p := networking.Port{HostIP: b.HostIP, ContainerPort: port.Num(), Protocol: string(port.Proto())}
	if p.Protocol != "tcp" && p.Protocol != "udp" {
		return nil, invalid("invalid port specification %q: protocol %q is not supported by this engine", port, p.Protocol)
	}
	if p.HostIP.IsValid() && !p.HostIP.Unmap().Is4() {
		return nil, invalid("invalid port specification: host address %s: IPv6 is not supported by this engine", p.HostIP)
	}
	from, to, isRange := strings.Cut(b.HostPort, "-")
	if !isRange {
		to = from
	}
	if from == "" {
		return []networking.Port{p}, nil
	}
	first, err := strconv.ParseUint(from, 10, 16)
	last, err2 := strconv.ParseUint(to, 10, 16)
	if err != nil || err2 != nil || last < first {
		return nil, invalid("invalid port specification: %q", b.HostPort)
	}
	var candidates []networking.Port
	for n := first; n <= last; n++ {
		p.HostPort = uint16(n)
		candidates = append(candidates, p)
	}
	return candidates, nil
}

// reservations are the host ports that a run has.
type reservations []*networking.Reservation

func (rs reservations) Close() {
	for _, r := range rs {
		r.Close()
	}
}

func (rs reservations) ports() []networking.Port {
	var ports []networking.Port
	for _, r := range rs {
		ports = append(ports, r.Port)
	}
	return ports
}

// relay has [::1] answer, from where no rule leads to a container, for the ports on all addresses.
func (rs reservations) relay(ctx context.Context, to netip.Addr) error {
	for _, r := range rs {
		if r.Port.HostIP.IsValid() {
			continue // one IPv4 address, or all of them
		}
		if err := r.Relay(ctx, to); err != nil {
			return err
		}
	}
	return nil
}

// hostAddresses are where p is published, as the API has it: a port on all addresses has one in
// either family.
func hostAddresses(p networking.Port) []netip.Addr {
	if !p.HostIP.IsValid() {
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	return []netip.Addr{p.HostIP}
}

// reserve takes the host ports that the container publishes.
func reserve(r *record) (held reservations, err error) {
	defer func() {
		if err != nil {
			held.Close()
			held = nil
		}
	}()
	bindings := make(network.PortMap)
	for port, b := range r.HostConfig.PortBindings {
		bindings[port] = b
	}
	if r.HostConfig.PublishAllPorts {
		for port := range r.Config.ExposedPorts {
			if len(bindings[port]) == 0 {
				bindings[port] = []network.PortBinding{{}}
			}
		}
	}
	for port, bs := range bindings {
		for _, b := range bs {
			candidates, err := publication(port, b)
			if err != nil {
				return held, err
			}
			one, err := reserveOne(candidates)
			if err != nil {
				return held, err
			}
			held = append(held, one)
		}
	}
	return held, nil
}

// reserveOne takes the first candidate that is free.
func reserveOne(candidates []networking.Port) (*networking.Reservation, error) {
	var err error
	for _, p := range candidates {
		var r *networking.Reservation
		if r, err = networking.Reserve(p); err == nil {
			return r, nil
		}
		if !errdefs.IsAlreadyExists(err) {
			return nil, err
		}
		err = conflict("Bind for %s:%d failed: port is already allocated (%w)", hostAddresses(p)[0], p.HostPort, err)
	}
	return nil, err
}

// portMap is what is published, as docker inspect shows it.
func portMap(r *record) network.PortMap {
	ports := network.PortMap{}
	if !r.State.running() {
		return ports
	}
	for port := range r.Config.ExposedPorts {
		ports[port] = nil
	}
	if r.Endpoint != nil {
		for _, p := range r.Endpoint.Ports {
			port, _ := network.PortFrom(p.ContainerPort, network.IPProtocol(p.Protocol))
			for _, host := range hostAddresses(p) {
				ports[port] = append(ports[port], network.PortBinding{HostIP: host, HostPort: strconv.Itoa(int(p.HostPort))})
			}
		}
	}
	return ports
}
