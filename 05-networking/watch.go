//go:build linux

package networking

import (
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Watch calls flushed whenever one of the tables "drydock" has been removed, as
// by `nft flush ruleset` and by a firewall's restart, until ctx ends; then it
// returns nil. An engine answers with [Network.Create] and [Network.Publish], so
// that a flush costs its containers some milliseconds of packets.
//
// The removal of the last network is such an event too.
func Watch(ctx context.Context, flushed func()) error {
	return watch(ctx, func() {}, flushed)
}

// watch tells by ready that from now on nothing is missed.
func watch(ctx context.Context, ready, flushed func()) error {
	chapter.Call(ctx, "the kernel tells whoever wants to know what becomes of the rules", "bind(NETLINK_NETFILTER, nl_groups=1<<(NFNLGRP_NFTABLES-1))")
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)})
	if err != nil {
		return fmt.Errorf("watch the rules: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	ready()
	for {
		messages, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			flushed() // so much has changed that the kernel could not tell us all
		case err != nil:
			return fmt.Errorf("watch the rules: %w", err)
		}
		for _, m := range messages {
			if removesTable(m) {
				flushed()
				break
			}
		}
	}
}

// removesTable reports whether a message tells that a table of ours has gone.
func removesTable(m netlink.Message) bool {
	const header = 4 // struct nfgenmsg
	if m.Header.Type != unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE || len(m.Data) < header {
		return false
	}
	attributes, err := netlink.NewAttributeDecoder(m.Data[header:])
	if err != nil {
		return false
	}
	for attributes.Next() {
		if attributes.Type() == unix.NFTA_TABLE_NAME && attributes.String() == table.Name {
			return true
		}
	}
	return false
}
