//go:build linux

package networking

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// mapping is one element of a port map: a published port and the container's
// address.
type mapping struct {
	port    Port
	address netip.Addr
}

var protocols = map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP}

// element is the mapping as the map has it. Each part of a concatenation
// begins at a four-byte register, in network byte order.
func (m mapping) element() nftables.SetElement {
	var key []byte
	if !m.port.everywhere() {
		key = append(key, m.port.hostIP().AsSlice()...)
	}
	key = append(key, protocols[m.port.Protocol], 0, 0, 0)
	key = append(binary.BigEndian.AppendUint16(key, m.port.HostPort), 0, 0)
	val := append(binary.BigEndian.AppendUint16(m.address.AsSlice(), m.port.ContainerPort), 0, 0)
	return nftables.SetElement{Key: key, Val: val}
}

// mappingOf is element's inverse; ok is false for what Drydock did not write.
func mappingOf(e nftables.SetElement) (m mapping, ok bool) {
	key, val := e.Key, e.Val
	if len(key) == 12 {
		m.port.HostIP = netip.AddrFrom4([4]byte(key[:4]))
		key = key[4:]
	}
	if len(key) != 8 || len(val) != 8 {
		return m, false
	}
	for name, number := range protocols {
		if number == key[0] {
			m.port.Protocol = name
		}
	}
	m.port.HostPort = binary.BigEndian.Uint16(key[4:])
	m.address = netip.AddrFrom4([4]byte(val[:4]))
	m.port.ContainerPort = binary.BigEndian.Uint16(val[4:])
	return m, m.port.Protocol != ""
}

// String writes the mapping as nft does.
func (m mapping) String() string {
	host := ""
	if !m.port.everywhere() {
		host = m.port.hostIP().String() + " . "
	}
	return fmt.Sprintf("%s%s . %d : %s . %d", host, m.port.Protocol, m.port.HostPort, m.address, m.port.ContainerPort)
}

// Publish leads ep.Ports of the host to ep.Address, all of them or, on error,
// none. [Network.Connect] calls it; an engine calls it alone to put back what a
// flush of the firewall took. What is published already is no error, and what
// leads to another container is an errdefs.ErrAlreadyExists.
//
// The host's ports should be held: see [Reserve]. Undo: [Network.Unpublish].
func (n *Network) Publish(ctx context.Context, ep *Endpoint) error {
	if len(ep.Ports) == 0 {
		return nil
	}
	if err := n.prepare(ep); err != nil {
		return err
	}
	s, c := n.ruleset(), new(nftables.Conn)
	for _, p := range ep.Ports {
		m := mapping{p, ep.Address.Addr()}
		set := s.portMap(p)
		chapter.Call(ctx, "the published port leads to the container", "sendto(NETLINK_NETFILTER, NFT_MSG_NEWSETELEM %q { %s })", set.Name, m)
		if err := c.SetAddElements(set, []nftables.SetElement{m.element()}); err != nil {
			return fmt.Errorf("publish %s: %w", p, err)
		}
	}
	if err := c.Flush(); err != nil {
		if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY) {
			return errdefs.ErrAlreadyExists.WithMessage(fmt.Sprintf("network %s: one of the ports %v is published for another container", n.Name, ep.Ports))
		}
		if errors.Is(err, unix.ENOENT) {
			return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("network %s: its rules are missing; Create puts them back", n.Name))
		}
		return fmt.Errorf("publish the ports of %s: %w", ep.Address.Addr(), err)
	}
	return forgetDatagrams(ctx, ep.Ports)
}

// Unpublish takes every port away that leads to ep.Address, whether ep.Ports
// has it or not. Where there is none it does nothing.
func (n *Network) Unpublish(ctx context.Context, ep *Endpoint) error {
	published, err := n.published()
	if err != nil {
		return err
	}
	s, c := n.ruleset(), new(nftables.Conn)
	var ports []Port
	for _, m := range published {
		if m.address != ep.Address.Addr() {
			continue
		}
		set := s.portMap(m.port)
		chapter.Call(ctx, "the port is published no more", "sendto(NETLINK_NETFILTER, NFT_MSG_DELSETELEM %q { %s })", set.Name, m)
		if err := c.SetDeleteElements(set, []nftables.SetElement{{Key: m.element().Key}}); err != nil {
			return fmt.Errorf("take back %s: %w", m.port, err)
		}
		ports = append(ports, m.port)
	}
	if len(ports) == 0 {
		return nil
	}
	// ENOENT: somebody flushed the table since we looked.
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("take back the ports of %s: %w", ep.Address.Addr(), err)
	}
	return forgetDatagrams(ctx, ports)
}

// published returns the elements of the network's port maps; no map, no
// elements.
func (n *Network) published() ([]mapping, error) {
	s, c := n.ruleset(), new(nftables.Conn)
	var all []mapping
	for _, set := range []*nftables.Set{s.everywhere, s.on} {
		// Asked for by name first: what the list of elements says of a missing
		// map can't be told from other errors.
		if _, err := c.GetSetByName(table, set.Name); errors.Is(err, unix.ENOENT) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("map %s: %w", set.Name, err)
		}
		elements, err := c.GetSetElements(set)
		if err != nil {
			return nil, fmt.Errorf("elements of %s: %w", set.Name, err)
		}
		for _, e := range elements {
			if m, ok := mappingOf(e); ok {
				all = append(all, m)
			}
		}
	}
	return all, nil
}

// portMap returns the map that p belongs into.
func (s *ruleset) portMap(p Port) *nftables.Set {
	if p.everywhere() {
		return s.everywhere
	}
	return s.on
}

// forgetDatagrams removes what connection tracking remembers of these UDP
// ports. The NAT rules are asked for the first packet of a flow only, and for
// UDP everything from one socket to one port is one flow, for as long as it
// does not fall silent: a client that never stops sending would keep missing a
// container that came after its first packet, or keep talking to one that went.
func forgetDatagrams(ctx context.Context, ports []Port) error {
	filter := udpPorts{}
	for _, p := range ports {
		if p.Protocol == "udp" {
			filter = append(filter, p.HostPort)
		}
	}
	if len(filter) == 0 {
		return nil
	}
	h, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	chapter.Call(ctx, "flows that began under the old rules begin anew", "sendto(NETLINK_NETFILTER, IPCTNL_MSG_CT_DELETE protocol=udp dport=%v)", []uint16(filter))
	if _, err := h.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, filter); err != nil {
		return fmt.Errorf("forget the UDP flows to ports %v: %w", []uint16(filter), err)
	}
	return nil
}

// udpPorts matches the flows to one of these host ports.
type udpPorts []uint16

func (ports udpPorts) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	return f.Forward.Protocol == unix.IPPROTO_UDP && slices.Contains(ports, f.Forward.DstPort)
}
