//go:build linux

package networking

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// frames has the rules that see what passes the switch itself, before the bridge
// looks at it: a frame from one container to another never gets to the rules
// for what is routed. The kernel keeps a table of this name for each family.
var frames = &nftables.Table{Name: "drydock", Family: nftables.TableFamilyBridge}

// guardSets tell what each guarded port of the bridge may say that it is.
type guardSets struct {
	ports  *nftables.Set // the bridge's ends of the cables
	hosts  *nftables.Set // port . Ethernet address . IPv4 address
	hosts6 *nftables.Set // port . Ethernet address . IPv6 address
}

// Fields of a frame, of an ARP packet (RFC 826), and of a neighbour
// advertisement (RFC 4861, 4.4).
var (
	etherSaddr = field{expr.PayloadBaseLLHeader, 6, 6}
	arpEther   = field{expr.PayloadBaseNetworkHeader, 8, 6}
	arpIP      = field{expr.PayloadBaseNetworkHeader, 14, 4}
	ndTarget   = field{expr.PayloadBaseTransportHeader, 8, 16}
)

// guardRules adds the chain that lets a container's frames into the switch only
// with the addresses that it was given, and lets it announce no others; and that
// keeps the host's localhost the host's, which the bridge's route_localnet would
// open. One is enough for all networks: a port's name is in one of them only.
func (s *ruleset) guardRules() {
	s.guard.ports = s.links(frames, "ports", nil)
	s.guard.hosts = s.set(frames, "hosts", nil, nftables.TypeIFName, nftables.TypeEtherAddr, nftables.TypeIPAddr)
	s.guard.hosts6 = s.set(frames, "hosts6", nil, nftables.TypeIFName, nftables.TypeEtherAddr, nftables.TypeIP6Addr)
	c := s.base(frames, "guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRef(-200))
	is, accept, drop := expr.CmpOpEq, verdict(expr.VerdictAccept), verdict(expr.VerdictDrop)

	// Of guarded ports and of all others, also of other bridges (which bridge it
	// is not every kernel can tell here): 127/8 is never on a wire (RFC 1122, 3.2.1.3).
	s.add(c, "ip daddr 127.0.0.0/8 drop",
		"no container reaches what listens on the host's localhost",
		protocol(unix.ETH_P_IP), daddr.ip().cmp(is, loopbackNet), drop)
	// Then what is most frequent, and right.
	s.add(c, "iifname . ether saddr . ip saddr @"+s.guard.hosts.Name+" accept",
		"under its own addresses it may send",
		protocol(unix.ETH_P_IP), fromPort(s.guard.hosts, etherSaddr, saddr.ip()), accept)
	s.add(c, "ip saddr 127.0.0.0/8 drop",
		"nor speaks as the host's localhost",
		protocol(unix.ETH_P_IP), saddr.ip().cmp(is, loopbackNet), drop)
	s.add(c, "iifname != @"+s.guard.ports.Name+" accept",
		"not a guarded port",
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: r1}, notIn(s.guard.ports)}, accept)
	s.add(c, "iifname . arp saddr ether . arp saddr ip @"+s.guard.hosts.Name+" accept",
		"it may say where it is, and nobody else",
		protocol(unix.ETH_P_ARP), fromPort(s.guard.hosts, arpEther, arpIP), accept)
	s.add(c, "icmpv6 type nd-neighbor-advert iifname . ether saddr . icmpv6 taddr != @"+s.guard.hosts6.Name+" drop",
		"the same in IPv6",
		protocol(unix.ETH_P_IPV6), icmpv6(ndNeighborAdvert), notFromPort(s.guard.hosts6, etherSaddr, ndTarget), drop)
	s.add(c, "icmpv6 type nd-router-advert drop",
		"no container is the others' router",
		protocol(unix.ETH_P_IPV6), icmpv6(ndRouterAdvert), drop)
	s.add(c, "icmpv6 type nd-redirect drop",
		"nor does it send them to one",
		protocol(unix.ETH_P_IPV6), icmpv6(ndRedirect), drop)
	s.add(c, "iifname . ether saddr . ip6 saddr @"+s.guard.hosts6.Name+" accept",
		"under its own addresses it may send",
		protocol(unix.ETH_P_IPV6), fromPort(s.guard.hosts6, etherSaddr, saddr.ip6()), accept)
	s.add(c, "drop", "whatever else it says it is", drop)
}

// ether type ip
func protocol(etherType uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: r1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: r1, Data: binary.BigEndian.AppendUint16(nil, etherType)},
	}
}

// iifname . ether saddr . ip saddr @s
func fromPort(s *nftables.Set, ether, ip field) []expr.Any {
	return append(portAnd(ether, ip), in(s))
}

func notFromPort(s *nftables.Set, ether, ip field) []expr.Any {
	return append(portAnd(ether, ip), notIn(s))
}

// portAnd loads a port's name, which takes four of the four-byte registers, an
// Ethernet address, which takes two, and an IP address.
func portAnd(ether, ip field) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: r1},
		ether.into(register(4)),
		ip.into(register(6)),
	}
}

// guardElements are what the sets have of one container: with its link-local
// address, which the kernel makes of its Ethernet address (RFC 4291, appendix A).
func (s *ruleset) guardElements(ep *Endpoint) map[*nftables.Set][]nftables.SetElement {
	host := func(a netip.Addr) nftables.SetElement {
		return nftables.SetElement{Key: guarded{ep.HostInterface, ep.MAC, a}.key()}
	}
	elements := map[*nftables.Set][]nftables.SetElement{
		s.guard.ports: {{Key: linkKey(ep.HostInterface)}},
		s.guard.hosts: {host(ep.Address.Addr())},
	}
	if ep.Address6.IsValid() {
		elements[s.guard.hosts6] = []nftables.SetElement{host(linkLocal(ep.MAC)), host(ep.Address6.Addr())}
	}
	return elements
}

// elements are what the sets have of the network that k is known of.
func (g guardSets) elements(k knowledge) map[*nftables.Set][]nftables.SetElement {
	all := make(map[*nftables.Set][]nftables.SetElement)
	for _, port := range k.ports {
		all[g.ports] = append(all[g.ports], nftables.SetElement{Key: linkKey(port)})
	}
	for _, host := range k.guarded {
		set := g.of(host.address)
		all[set] = append(all[set], nftables.SetElement{Key: host.key()})
	}
	return all
}

// of returns the set for addresses of a's family.
func (g guardSets) of(a netip.Addr) *nftables.Set {
	if a.Is4() {
		return g.hosts
	}
	return g.hosts6
}

// guarded is what a set of hosts has of one container.
type guarded struct {
	port    string
	mac     net.HardwareAddr
	address netip.Addr
}

func (g guarded) key() []byte {
	return append(append(append(linkKey(g.port), g.mac...), 0, 0), g.address.AsSlice()...)
}

// guardedOf is key's inverse; ok is false for what Drydock did not write.
func guardedOf(key []byte) (g guarded, ok bool) {
	const port, mac = unix.IFNAMSIZ, unix.IFNAMSIZ + 8
	if len(key) < mac {
		return g, false
	}
	g.port, g.mac = linkName(key), net.HardwareAddr(key[port:port+6])
	g.address, ok = netip.AddrFromSlice(key[mac:])
	return g, ok
}

// linkKey is a link's name as a set has it, linkName its inverse.
func linkKey(name string) []byte {
	return append([]byte(name), make([]byte, unix.IFNAMSIZ-len(name))...)
}

func linkName(key []byte) string {
	return string(bytes.TrimRight(key[:min(len(key), unix.IFNAMSIZ)], "\x00"))
}

// linkLocal is the address that every IPv6 link has, fe80::/64 and the
// modified EUI-64 identifier.
func linkLocal(mac net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
}
