//go:build linux

package networking

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	vishvananda "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// forgetDatagrams removes what connection tracking remembers of these UDP
// ports. The NAT rules are asked for the first packet of a flow only, and for
// UDP everything from one socket to one port is one flow, for as long as it
// does not fall silent: a client that never stops sending would keep missing a
// container that came after its first packet, or keep talking to one that went.
// A flow that a server on such a port began, by an answer that was late, is as
// bad: what the client sends is then an answer to it.
func (n *Network) forgetDatagrams(ctx context.Context, ports []Port) error {
	var udp []uint16
	for _, p := range ports {
		if p.Protocol == "udp" && !slices.Contains(udp, p.HostPort) {
			udp = append(udp, p.HostPort)
		}
	}
	if len(udp) == 0 {
		return nil
	}
	chapter.Call(ctx, "flows that began under the old rules begin anew", "sendto(NETLINK_NETFILTER, IPCTNL_MSG_CT_DELETE protocol=udp dport=%v)", udp)
	families := []byte{unix.AF_INET}
	if n.Subnet6.IsValid() {
		families = append(families, unix.AF_INET6)
	}
	err := forgetInKernel(udp, families...)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		err = forgetOneByOne(udp, families...)
	}
	if err != nil {
		return fmt.Errorf("forget the UDP flows to ports %v: %w", udp, err)
	}
	return nil
}

// The attributes of a deletion by filter, from linux/netfilter/nfnetlink_conntrack.h.
const (
	ctaTupleOrig        = 1
	ctaTupleReply       = 2
	ctaTupleProto       = 2
	ctaProtoNum         = 1
	ctaProtoDstPort     = 3
	ctaFilter           = 25
	ctaFilterOrigFlags  = 1
	ctaFilterReplyFlags = 2
	// Which parts of the tuple count.
	ctaFilterProtoNum     = 1 << 3
	ctaFilterProtoDstPort = 1 << 5
)

// forgetInKernel lets the kernel go through its table, which Linux can since
// 6.10 and which takes it a fraction of what it takes to list the table: a list
// takes the lock of each of the table's buckets, of which a machine with some
// memory has 262144, also when there is no flow in it. EINVAL: it cannot.
func forgetInKernel(ports []uint16, families ...byte) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer conn.Close()
	for _, port := range ports {
		for _, family := range families {
			for tuple, flags := range map[uint16]uint16{ctaTupleOrig: ctaFilterOrigFlags, ctaTupleReply: ctaFilterReplyFlags} {
				data, err := flowsTo(port, tuple, flags)
				if err != nil {
					return err
				}
				// Version 1 of struct nfgenmsg: the family counts in a deletion.
				_, err = conn.Execute(netlink.Message{
					Header: netlink.Header{Type: unix.NFNL_SUBSYS_CTNETLINK<<8 | ipctnlMsgCtDelete, Flags: netlink.Request | netlink.Acknowledge},
					Data:   append([]byte{family, 1, 0, 0}, data...),
				})
				if err != nil && !errors.Is(err, unix.ENOENT) {
					return err
				}
			}
		}
	}
	return nil
}

// flowsTo is the filter for UDP flows to a port, in one of a flow's two directions.
func flowsTo(port, tuple, flags uint16) ([]byte, error) {
	attributes := netlink.NewAttributeEncoder()
	attributes.ByteOrder = binary.BigEndian
	attributes.Nested(tuple, func(tuple *netlink.AttributeEncoder) error {
		tuple.Nested(ctaTupleProto, func(proto *netlink.AttributeEncoder) error {
			proto.Uint8(ctaProtoNum, unix.IPPROTO_UDP)
			proto.Uint16(ctaProtoDstPort, port)
			return nil
		})
		return nil
	})
	attributes.ByteOrder = binary.NativeEndian
	attributes.Nested(ctaFilter, func(filter *netlink.AttributeEncoder) error {
		filter.Uint32(flags, ctaFilterProtoNum|ctaFilterProtoDstPort)
		return nil
	})
	return attributes.Encode()
}

const ipctnlMsgCtDelete = 2 // IPCTNL_MSG_CT_DELETE

// forgetOneByOne lists the table and deletes what is found.
func forgetOneByOne(ports []uint16, families ...byte) error {
	h, err := vishvananda.NewHandle(unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	for _, family := range families {
		if _, err := h.ConntrackDeleteFilters(vishvananda.ConntrackTable, vishvananda.InetFamily(family), udpPorts(ports)); err != nil {
			return err
		}
	}
	return nil
}

// udpPorts matches the flows to one of these host ports, or from a server on it.
type udpPorts []uint16

func (ports udpPorts) MatchConntrackFlow(f *vishvananda.ConntrackFlow) bool {
	return f.Forward.Protocol == unix.IPPROTO_UDP && (slices.Contains(ports, f.Forward.DstPort) || slices.Contains(ports, f.Reverse.DstPort))
}
