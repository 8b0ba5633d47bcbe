//go:build linux

package networking

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// awaitUp waits until the link with this index, in the namespace ns that h
// speaks to, really carries packets.
//
// When the second end of a veth pair is switched on, both have a carrier at
// once, but a kernel thread must notice first ("linkwatch"): until then the
// link throws away what is sent, and the bridge does not forward to it. The
// first ARP request of a container that is quick would be lost, and the kernel
// repeats it after one second.
func awaitUp(ctx context.Context, h *netlink.Handle, ns netns.NsHandle, index int) error {
	// Since Linux 6.8 the question itself makes the kernel notice.
	return await(ctx, ns, unix.RTNLGRP_LINK, fmt.Sprintf("link %d carries packets", index), func() (bool, error) {
		link, err := h.LinkByIndex(index)
		if err != nil {
			return false, fmt.Errorf("state of link %d: %w", index, err)
		}
		return link.Attrs().OperState == netlink.OperUp, nil
	})
}

// awaitAddress waits until the namespace takes packets for its IPv6 address a.
//
// The address is there when it has been given, but it is a kernel thread (that
// of duplicate address detection, also where there is nothing to detect) that
// joins the multicast group in which neighbours ask for it, and then adds
// the route by which packets for it are this host's own.
func awaitAddress(ctx context.Context, h *netlink.Handle, ns netns.NsHandle, a netip.Addr) error {
	own := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Dst: ipNet(netip.PrefixFrom(a, a.BitLen()))}
	return await(ctx, ns, unix.RTNLGRP_IPV6_ROUTE, fmt.Sprintf("%s is reached", a), func() (bool, error) {
		routes, err := h.RouteListFiltered(netlink.FAMILY_V6, own, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE|netlink.RT_FILTER_DST)
		if err != nil {
			return false, fmt.Errorf("routes to %s: %w", a, err)
		}
		return len(routes) > 0, nil
	})
}

// await waits until ready says so, and asks it again after each event of a
// group of rtnetlink(7) in the namespace ns.
func await(ctx context.Context, ns netns.NsHandle, group uint, what string, ready func() (bool, error)) error {
	if ok, err := ready(); ok || err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	events, err := nl.SubscribeAt(ns, netns.None(), unix.NETLINK_ROUTE, group)
	if err != nil {
		return fmt.Errorf("subscribe to the events of links and routes: %w", err)
	}
	defer events.Close()
	defer context.AfterFunc(ctx, events.Close)()
	for {
		// Asked again after subscribing, so that no change is missed between.
		if ok, err := ready(); ok || err != nil {
			return err
		}
		if _, _, err := events.Receive(); err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return fmt.Errorf("wait until %s: %w", what, err)
		}
	}
}
