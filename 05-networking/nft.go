//go:build linux

package networking

import (
	"net"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The words of nft's language that the rules are made of. A rule is a list of
// small instructions: one loads something of the packet into a register, the
// next compares the register, and where that is false the rule ends
// (nft(8), "expressions"). Each function here is one such phrase.

// register is the place of the i-th four bytes of a concatenation, of which
// there are sixteen.
func register(i uint32) uint32 { return unix.NFT_REG32_00 + i }

const r1 = unix.NFT_REG_1

// iifname "dd0"
func iifname(op expr.CmpOp, name string) []expr.Any { return ifname(expr.MetaKeyIIFNAME, op, name) }

// oifname "dd0"
func oifname(op expr.CmpOp, name string) []expr.Any { return ifname(expr.MetaKeyOIFNAME, op, name) }

func ifname(key expr.MetaKey, op expr.CmpOp, name string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return []expr.Any{
		&expr.Meta{Key: key, Register: r1},
		&expr.Cmp{Op: op, Register: r1, Data: padded},
	}
}

// oifname vmap @networks: the map has the verdict, and what is not in it goes on.
func oifnameVmap(m *nftables.Set) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: r1},
		&expr.Lookup{SourceRegister: r1, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: m.Name, SetID: m.ID},
	}
}

// A field is a place in a packet.
type field struct {
	base        expr.PayloadBase
	offset, len uint32
}

// Which end of a packet: its address lies at another offset in IPv4 (RFC 791)
// than in IPv6 (RFC 8200).
type end int

const (
	saddr end = iota
	daddr
)

func (e end) ip() field {
	return field{expr.PayloadBaseNetworkHeader, 12 + 4*uint32(e), 4}
}

func (e end) ip6() field {
	return field{expr.PayloadBaseNetworkHeader, 8 + 16*uint32(e), 16}
}

var thDport = field{expr.PayloadBaseTransportHeader, 2, 2}

func (f field) into(register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: f.base, Offset: f.offset, Len: f.len}
}

// meta nfproto ipv4: in a table that sees both, the offsets mean nothing before this.
func family(proto byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: r1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: r1, Data: []byte{proto}},
	}
}

// ip saddr 172.30.0.0/24, ip6 daddr ::1
func address(e end, op expr.CmpOp, p netip.Prefix) []expr.Any {
	f, proto := e.ip(), byte(unix.NFPROTO_IPV4)
	if p.Addr().Is6() {
		f, proto = e.ip6(), unix.NFPROTO_IPV6
	}
	return append(family(proto), f.cmp(op, p)...)
}

// saddr 172.30.0.0/24, without asking which kind of packet it is.
func (f field) cmp(op expr.CmpOp, p netip.Prefix) []expr.Any {
	phrase := []expr.Any{f.into(r1)}
	if !p.IsSingleIP() {
		mask := net.CIDRMask(p.Bits(), p.Addr().BitLen())
		phrase = append(phrase, &expr.Bitwise{SourceRegister: r1, DestRegister: r1, Len: f.len, Mask: mask, Xor: make([]byte, f.len)})
	}
	return append(phrase, &expr.Cmp{Op: op, Register: r1, Data: p.Masked().Addr().AsSlice()})
}

// fib daddr type local: the routing table (forwarding information base) knows
// the destination as an address of this host.
func daddrIsLocal() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: r1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: r1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

// ct state established,related
func ctState(bits uint32) []expr.Any { return ct(expr.CtKeySTATE, bits) }

// ct status dnat: the connection's destination was translated.
func ctStatusDNAT() []expr.Any {
	const dnat = 1 << 5 // IPS_DST_NAT, nf_conntrack_common.h
	return ct(expr.CtKeySTATUS, dnat)
}

func ct(key expr.CtKey, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: r1},
		&expr.Bitwise{SourceRegister: r1, DestRegister: r1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: r1, Data: make([]byte, 4)},
	}
}

// dnat ip to meta l4proto . th dport map @m
func dnatByPort(m *nftables.Set) []expr.Any {
	return []expr.Any{l4proto(0), thDport.into(register(1)), lookup(m), dnat(m)}
}

// dnat ip to ip daddr . meta l4proto . th dport map @m
func dnatByAddressAndPort(m *nftables.Set) []expr.Any {
	return append(hostAddressAndPort(m), lookup(m), dnat(m))
}

// ip daddr . meta l4proto . th dport @s
func isOpen(s *nftables.Set) []expr.Any {
	return append(hostAddressAndPort(s), in(s))
}

func hostAddressAndPort(s *nftables.Set) []expr.Any {
	to := daddr.ip()
	if strings.HasPrefix(s.KeyType.Name, nftables.TypeIP6Addr.Name) {
		to = daddr.ip6()
	}
	return []expr.Any{to.into(r1), l4proto(to.len / 4), thDport.into(register(to.len/4 + 1))}
}

func l4proto(i uint32) expr.Any {
	return &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register(i)}
}

// lookup puts what the map has for the key into its place: address and port.
func lookup(m *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: r1, DestRegister: r1, IsDestRegSet: true, SetName: m.Name, SetID: m.ID}
}

// in ends the rule unless the set has the key.
func in(s *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: r1, SetName: s.Name, SetID: s.ID}
}

// notIn ends the rule if the set has the key.
func notIn(s *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: r1, SetName: s.Name, SetID: s.ID, Invert: true}
}

func dnat(m *nftables.Set) expr.Any {
	if strings.HasPrefix(m.DataType.Name, nftables.TypeIP6Addr.Name) {
		return &expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV6, RegAddrMin: r1, RegProtoMin: register(4)}
	}
	return &expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: r1, RegProtoMin: register(1)}
}

// Types of ICMPv6 messages that take the place of ARP (RFC 4861).
const (
	ndRouterAdvert    = 134
	ndNeighborSolicit = 135
	ndNeighborAdvert  = 136
	ndRedirect        = 137
)

// icmpv6 type nd-neighbor-advert
func icmpv6(kind byte) []expr.Any {
	return []expr.Any{
		l4proto(0),
		&expr.Cmp{Op: expr.CmpOpEq, Register: r1, Data: []byte{unix.IPPROTO_ICMPV6}},
		field{expr.PayloadBaseTransportHeader, 0, 1}.into(r1),
		&expr.Cmp{Op: expr.CmpOpEq, Register: r1, Data: []byte{kind}},
	}
}

func jump(c *nftables.Chain) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: c.Name}}
}

func verdict(k expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: k}} }
