//go:build linux

package networking

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// mapping is one element of a port map: a published port and the container's
// address, both of one family.
type mapping struct {
	port    Port
	address netip.Addr
}

var protocols = map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "sctp": unix.IPPROTO_SCTP}

// mappings are p's, one for each family in which it has a host address and ep
// an address to lead to.
func (ep *Endpoint) mappings(p Port) []mapping {
	var all []mapping
	for _, to := range []netip.Addr{ep.Address.Addr(), ep.Address6.Addr()} {
		if host := p.hostIP(to); to.IsValid() && host.IsValid() && host != netip.IPv6Loopback() {
			one := p
			one.HostIP = host
			all = append(all, mapping{one, to})
		}
	}
	return all
}

// key is the mapping's as the map has it. Each part of a concatenation begins
// at a four-byte register, in network byte order.
func (m mapping) key() []byte {
	var key []byte
	if !m.port.HostIP.IsUnspecified() {
		key = m.port.HostIP.AsSlice()
	}
	key = append(key, protocols[m.port.Protocol], 0, 0, 0)
	return append(binary.BigEndian.AppendUint16(key, m.port.HostPort), 0, 0)
}

func (m mapping) element() nftables.SetElement {
	val := append(binary.BigEndian.AppendUint16(m.address.AsSlice(), m.port.ContainerPort), 0, 0)
	return nftables.SetElement{Key: m.key(), Val: val}
}

// mappingOf is element's inverse; ok is false for what Drydock did not write.
func mappingOf(e nftables.SetElement) (m mapping, ok bool) {
	if len(e.Val) != 8 && len(e.Val) != 20 {
		return m, false
	}
	m.address, _ = netip.AddrFromSlice(e.Val[:len(e.Val)-4])
	m.port.ContainerPort = binary.BigEndian.Uint16(e.Val[len(e.Val)-4:])
	m.port.HostIP, m.port.Protocol, m.port.HostPort, ok = portOf(e.Key)
	if !m.port.HostIP.IsValid() {
		m.port.HostIP = unspecified(m.address)
	}
	return m, ok && m.port.HostIP.Is4() == m.address.Is4()
}

// portOf reads the key [address .] protocol . port.
func portOf(key []byte) (a netip.Addr, protocol string, port uint16, ok bool) {
	if len(key) != 8 && len(key) != 12 && len(key) != 24 {
		return a, "", 0, false
	}
	if ip := key[:len(key)-8]; len(ip) > 0 {
		a, _ = netip.AddrFromSlice(ip)
		key = key[len(ip):]
	}
	for name, number := range protocols {
		if number == key[0] {
			protocol = name
		}
	}
	return a, protocol, binary.BigEndian.Uint16(key[4:]), protocol != ""
}

// String writes the mapping as nft does.
func (m mapping) String() string {
	host := ""
	if !m.port.HostIP.IsUnspecified() {
		host = m.port.HostIP.String() + " . "
	}
	return fmt.Sprintf("%s%s . %d : %s . %d", host, m.port.Protocol, m.port.HostPort, m.address, m.port.ContainerPort)
}

// portMap returns the map that m belongs into.
func (s *ruleset) portMap(m mapping) *nftables.Set {
	switch everywhere := m.port.HostIP.IsUnspecified(); {
	case m.address.Is4() && everywhere:
		return s.everywhere
	case m.address.Is4():
		return s.on
	case everywhere:
		return s.everywhere6
	}
	return s.on6
}

// opening is a container's port that is reached without translation, in a
// network that is routed to.
type opening struct {
	address  netip.Addr
	protocol string
	port     uint16
}

func (o opening) key() []byte {
	return mapping{port: Port{HostIP: o.address, Protocol: o.protocol, HostPort: o.port}}.key()
}

func openingOf(key []byte) (o opening, ok bool) {
	o.address, o.protocol, o.port, ok = portOf(key)
	return o, ok && o.address.IsValid()
}

// routed reports whether the network's containers are reached by their own
// addresses, in the family of a.
func (n *Network) routed(a netip.Addr) bool { return a.Is4() && n.Routed || a.Is6() && n.Routed6 }

// elements are all that the rules are to know of ep.
func (n *Network) elements(s *ruleset, ep *Endpoint) map[*nftables.Set][]nftables.SetElement {
	all := make(map[*nftables.Set][]nftables.SetElement)
	if !ep.Router {
		all = s.guardElements(ep)
	}
	for _, p := range ep.Ports {
		for _, m := range ep.mappings(p) {
			set, e := s.portMap(m), m.element()
			if n.routed(m.address) {
				set, e = s.open, nftables.SetElement{Key: opening{m.address, p.Protocol, p.ContainerPort}.key()}
				if m.address.Is6() {
					set = s.open6
				}
			}
			all[set] = append(all[set], e)
		}
	}
	return all
}

// Publish tells the rules and the bridge what they are to know of ep: that the
// host's ports ep.Ports lead to it, and which addresses its cable speaks for; all of it or, on
// error, nothing. [Network.Connect] does so; an engine calls it alone to put
// back what a flush of the firewall took. What is there already is no error, and
// a port that leads to another container is an errdefs.ErrAlreadyExists.
//
// In a network that is [Network.Routed], a port is not of the host's: the
// container's own is opened.
//
// The host's ports should be held: see [Reserve]. Undo: [Network.Unpublish].
func (n *Network) Publish(ctx context.Context, ep *Endpoint) error {
	if err := n.check(); err != nil {
		return err
	}
	if err := n.prepare(ep); err != nil {
		return err
	}
	if err := n.restorePort(ctx, ep); err != nil {
		return err
	}
	if err := n.publish(ctx, ep); err != nil {
		return err
	}
	return n.forgetDatagrams(ctx, ep.Ports)
}

func (n *Network) publish(ctx context.Context, ep *Endpoint) error {
	s, c := n.ruleset(), new(nftables.Conn)
	elements := n.elements(s, ep)
	for _, set := range s.sets {
		es := elements[set]
		if len(es) == 0 {
			continue
		}
		chapter.Call(ctx, whyElement(set), "sendto(NETLINK_NETFILTER, NFT_MSG_NEWSETELEM %q { %s })", set.Name, elementText(set, es))
		if err := c.SetAddElements(set, es); err != nil {
			return fmt.Errorf("publish the ports of %s: %w", ep.Address.Addr(), err)
		}
	}
	transactions.Lock()
	err := c.Flush()
	transactions.Unlock()
	if err != nil {
		if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY) {
			return errdefs.ErrAlreadyExists.WithMessage(fmt.Sprintf("network %s: one of the ports %v is published for another container", n.Name, ep.Ports))
		}
		if errors.Is(err, unix.ENOENT) {
			return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("network %s: its rules are missing; Create puts them back", n.Name))
		}
		return fmt.Errorf("publish the ports of %s: %w", ep.Address.Addr(), err)
	}
	return nil
}

// Unpublish takes every port away that leads to ep's addresses, whether
// ep.Ports has it or not. Where there is none it does nothing.
func (n *Network) Unpublish(ctx context.Context, ep *Endpoint) error {
	return n.remove(ctx, ep, false)
}

// forget takes all away that the rules know of ep.
func (n *Network) forget(ctx context.Context, ep *Endpoint) error { return n.remove(ctx, ep, true) }

func (n *Network) remove(ctx context.Context, ep *Endpoint, cable bool) error {
	ports, err := n.removeElements(ctx, ep, cable)
	if err != nil {
		return err
	}
	return n.forgetDatagrams(ctx, ports)
}

// removeElements returns the ports that were published.
func (n *Network) removeElements(ctx context.Context, ep *Endpoint, cable bool) (ports []Port, err error) {
	transactions.Lock()
	defer transactions.Unlock()
	known, err := n.known()
	if err != nil {
		return nil, err
	}
	s := n.ruleset()
	elements := make(map[*nftables.Set][]nftables.SetElement)
	addresses := []netip.Addr{ep.Address.Addr(), ep.Address6.Addr()}
	if ep.Address.IsValid() {
		own := hostInterface(ep.Address.Addr())
		for _, g := range known.guarded {
			if g.port != own {
				continue
			}
			addresses = append(addresses, g.address)
			if set := s.guard.of(g.address); cable {
				elements[set] = append(elements[set], nftables.SetElement{Key: g.key()})
			}
		}
		if cable && slices.Contains(known.ports, own) {
			elements[s.guard.ports] = []nftables.SetElement{{Key: linkKey(own)}}
		}
	}
	for _, m := range known.published {
		if slices.Contains(addresses, m.address) {
			elements[s.portMap(m)] = append(elements[s.portMap(m)], nftables.SetElement{Key: m.key()})
			ports = append(ports, m.port)
		}
	}
	for _, o := range known.open {
		set := s.open
		if o.address.Is6() {
			set = s.open6
		}
		if slices.Contains(addresses, o.address) {
			elements[set] = append(elements[set], nftables.SetElement{Key: o.key()})
		}
	}
	if len(elements) == 0 {
		return nil, nil
	}
	c := new(nftables.Conn)
	for set, es := range elements {
		chapter.Call(ctx, "the container has it no more", "sendto(NETLINK_NETFILTER, NFT_MSG_DELSETELEM %q { %s })", set.Name, elementText(set, es))
		if err := c.SetDeleteElements(set, es); err != nil {
			return nil, fmt.Errorf("take back what is published for %s: %w", ep.Address.Addr(), err)
		}
	}
	// ENOENT: somebody flushed the table since we looked.
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("take back what is published for %s: %w", ep.Address.Addr(), err)
	}
	return ports, nil
}

// whyElement and elementText tell what an element is, for --explain.
func whyElement(set *nftables.Set) string {
	switch {
	case set.IsMap:
		return "the published port leads to the container"
	case set.Table == frames:
		return "the switch takes frames of this port only with these addresses"
	}
	return "the container's port is open"
}

func elementText(set *nftables.Set, es []nftables.SetElement) string {
	var all []string
	for _, e := range es {
		text := linkName(e.Key)
		if m, ok := mappingOf(e); ok && set.IsMap {
			text = m.String()
		} else if o, ok := openingOf(e.Key); ok && set.Table == table {
			text = fmt.Sprintf("%s . %s . %d", o.address, o.protocol, o.port)
		} else if _, protocol, port, ok := portOf(e.Key); ok && set.Table == table {
			text = fmt.Sprintf("%s . %d", protocol, port)
		} else if g, ok := guardedOf(e.Key); ok {
			text = fmt.Sprintf("%s . %s . %s", g.port, g.mac, g.address)
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}
