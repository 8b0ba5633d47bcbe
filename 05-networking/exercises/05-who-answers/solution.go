//go:build linux && solution

// Package whoanswers is an exercise of chapter 5.
package whoanswers

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Answers returns where a TCP connection over IPv4 really ends: client and
// server are its two ends as the client has them. The connection was made in,
// or came through, the network namespace of the calling thread.
func Answers(client, server netip.AddrPort) (netip.AddrPort, error) {
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for _, f := range flows {
		if f.Forward.Protocol == unix.IPPROTO_TCP &&
			end(f.Forward.SrcIP, f.Forward.SrcPort) == client && end(f.Forward.DstIP, f.Forward.DstPort) == server {
			return end(f.Reverse.SrcIP, f.Reverse.SrcPort), nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("no connection from %s to %s", client, server)
}

func end(ip net.IP, port uint16) netip.AddrPort {
	a, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a.Unmap(), port)
}
