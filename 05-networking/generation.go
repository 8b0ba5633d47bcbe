//go:build linux

package networking

import (
	"fmt"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// transactions keeps this process from changing the rules between another
// goroutine's reading of them and what it does about that. The kernel takes one
// transaction after the other in any case.
var transactions sync.Mutex

// unchanged calls read until nobody has changed the rules meanwhile. The kernel
// hands a long list out in pieces, and finds its place again by counting: what
// is removed before the place lets it skip as many. Where somebody changes the
// rules without a pause it is content with the last try.
func unchanged(read func() error) error {
	before, err := generation()
	for range 50 {
		if err != nil {
			return err
		}
		if err := read(); err != nil {
			return err
		}
		now, e := generation()
		if now == before {
			return e
		}
		before, err = now, e
	}
	return err
}

// generation is the number of transactions so far in this network namespace,
// whoever made them.
func generation() (uint32, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return 0, fmt.Errorf("netlink: %w", err)
	}
	defer conn.Close()
	replies, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	if err != nil {
		return 0, fmt.Errorf("generation of the rules: %w", err)
	}
	for _, m := range replies {
		if len(m.Data) < 4 {
			continue
		}
		attributes, err := netlink.NewAttributeDecoder(m.Data[4:])
		if err != nil {
			return 0, fmt.Errorf("generation of the rules: %w", err)
		}
		for attributes.Next() {
			if attributes.Type() == unix.NFTA_GEN_ID {
				return attributes.Uint32(), attributes.Err() // only compared: the byte order is no matter
			}
		}
	}
	return 0, fmt.Errorf("generation of the rules: the kernel does not say it")
}
