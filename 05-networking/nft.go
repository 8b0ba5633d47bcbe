//go:build linux

package networking

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The words of nft's language that the rules are made of. A rule is a list of
// small instructions: one loads something of the packet into a register, the
// next compares the register, and where that is false the rule ends
// (nft(8), "expressions"). Each function here is one such phrase.

// Registers. The four-byte ones are parts of the large ones: r9 is the second
// quarter of r1, in which a concatenation therefore lies as r1, r9.
const (
	r1 = unix.NFT_REG_1
	r9 = unix.NFT_REG32_00 + 1
	// for the concatenation of three
	r10 = unix.NFT_REG32_00 + 2
)

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

// Offsets in the IPv4 header.
const (
	saddr = 12
	daddr = 16
)

// ip saddr 172.30.0.0/24
func address(offset uint32, op expr.CmpOp, p netip.Prefix) []expr.Any {
	mask := binaryutil.BigEndian.PutUint32(^uint32(0) << (32 - p.Bits()))
	return []expr.Any{
		&expr.Payload{DestRegister: r1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: r1, DestRegister: r1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: r1, Data: p.Masked().Addr().AsSlice()},
	}
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
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: r1},
		&expr.Payload{DestRegister: r9, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		lookup(m), dnat(),
	}
}

// dnat ip to ip daddr . meta l4proto . th dport map @m
func dnatByAddressAndPort(m *nftables.Set) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: r1, Base: expr.PayloadBaseNetworkHeader, Offset: daddr, Len: 4},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: r9},
		&expr.Payload{DestRegister: r10, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		lookup(m), dnat(),
	}
}

// lookup puts what the map has for the key in r1 into r1: address and port.
func lookup(m *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: r1, DestRegister: r1, IsDestRegSet: true, SetName: m.Name, SetID: m.ID}
}

func dnat() expr.Any {
	return &expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: r1, RegProtoMin: r9}
}

func jump(c *nftables.Chain) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: c.Name}}
}

func verdict(k expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: k}} }
