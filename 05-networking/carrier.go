//go:build linux

package networking

import (
	"context"
	"fmt"
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
	if up, err := isUp(h, index); up || err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	events, err := nl.SubscribeAt(ns, netns.None(), unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
	if err != nil {
		return fmt.Errorf("subscribe to link events: %w", err)
	}
	defer events.Close()
	defer context.AfterFunc(ctx, events.Close)()
	for {
		// Asked again after subscribing, so that no change is missed between.
		if up, err := isUp(h, index); up || err != nil {
			return err
		}
		if _, _, err := events.Receive(); err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return fmt.Errorf("wait until link %d carries packets: %w", index, err)
		}
	}
}

func isUp(h *netlink.Handle, index int) (bool, error) {
	link, err := h.LinkByIndex(index)
	if err != nil {
		return false, fmt.Errorf("state of link %d: %w", index, err)
	}
	return link.Attrs().OperState == netlink.OperUp, nil
}
