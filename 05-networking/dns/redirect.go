//go:build linux

package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Address is where a container finds the server: a loopback address, so that
// it is in every namespace, and not 127.0.0.1, so that it is in nobody's way.
var Address = netip.MustParseAddr("127.0.0.11")

const port = 53

// The table is in the container's namespace, where nothing else is of ours.
var (
	table = &nftables.Table{Name: "drydock-dns", Family: nftables.TableFamilyIPv4}
	chain = &nftables.Chain{
		Table: table, Name: "output", Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	}
)

// redirect leads what the programs in ns send to port 53 of [Address] to the
// ports on which the server listens there. It takes the place of an earlier
// server's rules, if there are any, in one transaction.
//
// Undo: [unredirect].
func redirect(ctx context.Context, ns *os.File, udp, tcp uint16) error {
	c, err := nftables.New(nftables.WithNetNSFd(int(ns.Fd())))
	if err != nil {
		return fmt.Errorf("netlink in the container's namespace: %w", err)
	}
	before, err := c.ListTablesOfFamily(table.Family)
	if err != nil {
		return fmt.Errorf("tables of the container's namespace: %w", err)
	}
	chapter.Call(ctx, "in the container's namespace: a chain for what its own programs send",
		"sendto(NETLINK_NETFILTER, NFT_MSG_NEWCHAIN %q %q { type nat hook output priority -100 })", table.Name, chain.Name)
	c.AddTable(table)
	c.AddChain(chain)
	c.FlushChain(chain)
	for _, l := range []struct {
		protocol byte
		name     string
		port     uint16
	}{{unix.IPPROTO_UDP, "udp", udp}, {unix.IPPROTO_TCP, "tcp", tcp}} {
		chapter.Call(ctx, "the name server is not on port 53, which a program in there may want for itself",
			"sendto(NETLINK_NETFILTER, NFT_MSG_NEWRULE %q { ip daddr %s %s dport %d dnat to %[2]s:%[5]d })", chain.Name, Address, l.name, port, l.port)
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: Address.AsSlice()},
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{l.protocol}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
			&expr.Immediate{Register: 1, Data: Address.AsSlice()},
			&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(l.port)},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2},
		}})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("lead %s:%d of the container to its name server: %w", Address, port, err)
	}
	// Not always, because it is the dearest part: connection tracking has one
	// table for all namespaces, and it is searched from end to end.
	if slices.ContainsFunc(before, func(t *nftables.Table) bool { return t.Name == table.Name }) {
		return forgetFlows(ctx, ns)
	}
	return nil
}

// unredirect takes redirect's table away, if it is there.
func unredirect(ctx context.Context, ns *os.File) error {
	c, err := nftables.New(nftables.WithNetNSFd(int(ns.Fd())))
	if err != nil {
		return fmt.Errorf("netlink in the container's namespace: %w", err)
	}
	chapter.Call(ctx, "the name server goes, and its rules with it", "sendto(NETLINK_NETFILTER, NFT_MSG_DELTABLE %q)", table.Name)
	c.DelTable(table)
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove table %s: %w", table.Name, err)
	}
	return nil
}

// forgetFlows removes what connection tracking remembers of an earlier server.
// A rule is asked for the first packet of a flow only, and a program that asks
// again and again from one UDP socket, as nginx does, is one flow for ever.
func forgetFlows(ctx context.Context, ns *os.File) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("netlink in the container's namespace: %w", err)
	}
	defer h.Close()
	chapter.Call(ctx, "flows to an earlier server begin anew", "sendto(NETLINK_NETFILTER, IPCTNL_MSG_CT_DELETE dst=%s dport=%d)", Address, port)
	// EINVAL: a kernel without ctnetlink. Such a program is heard again when it
	// has been silent for a while, and all others at once.
	if _, err := h.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, toServer{}); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("forget the flows to %s: %w", Address, err)
	}
	return nil
}

// toServer matches the flows to [Address].
type toServer struct{}

func (toServer) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	return f.Forward.DstPort == port && f.Forward.DstIP.Equal(Address.AsSlice())
}
