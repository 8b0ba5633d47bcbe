//go:build linux

package networking

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Picture draws the network as the kernel has it: the bridge, its cables with
// what is known of each container's end, the ports that lead there, and what
// happens to a packet at each hook.
//
//	dd5  172.30.5.1/24  02:dd:ac:1e:05:01
//	├─ veth-ac1e0502 ═══ 172.30.5.2/24  02:dd:ac:1e:05:02
//	│    0.0.0.0:18080->8080/tcp
//	└─ veth-ac1e0503 ═══ 172.30.5.3/24  02:dd:ac:1e:05:03
//
//	prerouting, bridge, priority -200
//	    under its own addresses it may send
//	…
func (n *Network) Picture(ctx context.Context, w io.Writer) error {
	bridge, err := netlink.LinkByName(n.Bridge)
	if err != nil {
		return fmt.Errorf("look for bridge %s: %w", n.Bridge, err)
	}
	addresses, err := netlink.AddrList(bridge, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("addresses of %s: %w", n.Bridge, err)
	}
	fmt.Fprint(w, n.Bridge)
	for _, a := range addresses {
		if !a.IP.IsLinkLocalUnicast() {
			fmt.Fprintf(w, "  %s", a.IPNet)
		}
	}
	fmt.Fprintf(w, "  %s\n", bridge.Attrs().HardwareAddr)

	endpoints, err := n.Endpoints(ctx)
	if err != nil {
		return err
	}
	for i, ep := range endpoints {
		branch, trunk := "├─ ", "│    "
		if i == len(endpoints)-1 {
			branch, trunk = "└─ ", "     "
		}
		cable := "(no cable)"
		if ep.HostInterface != "" {
			cable = ep.HostInterface + " ═══"
		}
		fmt.Fprintf(w, "%s%s", branch, cable)
		for _, a := range []netip.Prefix{ep.Address, ep.Address6} {
			if a.IsValid() {
				fmt.Fprintf(w, " %s ", a)
			}
		}
		fmt.Fprintf(w, " %s\n", ep.MAC)
		for _, p := range ep.Ports {
			fmt.Fprintf(w, "%s%s\n", trunk, p)
		}
	}
	return n.drawRules(w)
}

// drawRules lists, hook by hook, why each rule of the network is there. Each
// rule in the kernel carries its reason as a comment.
func (n *Network) drawRules(w io.Writer) error {
	c, chains := new(nftables.Conn), n.ruleset().chains
	slices.SortStableFunc(chains, alongTheWay)
	for _, ch := range chains {
		var rules []*nftables.Rule
		err := unchanged(func() (err error) {
			rules, err = c.GetRules(ch.Table, ch)
			return err
		})
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("rules of %s: %w", ch.Name, err)
		}
		if len(rules) == 0 {
			continue
		}
		if ch.Hooknum != nil {
			fmt.Fprintf(w, "\n%s, %s, priority %d\n", hooks[*ch.Hooknum], families[ch.Table.Family], *ch.Priority)
		} else {
			fmt.Fprintf(w, "\n%s\n", strings.TrimSuffix(ch.Name, "-"+n.Bridge))
		}
		for _, r := range rules {
			why, _ := userdata.GetString(r.UserData, userdata.TypeComment)
			fmt.Fprintf(w, "    %s\n", why)
		}
	}
	return nil
}

// alongTheWay orders chains as a packet comes to them: hook by hook, the bridge's
// before the router's. Those that are only jumped to are last.
func alongTheWay(a, b *nftables.Chain) int {
	place := func(c *nftables.Chain) (hook, table, priority int) {
		if c.Hooknum == nil {
			return math.MaxInt, 0, 0
		}
		if c.Table != frames {
			table = 1
		}
		return int(*c.Hooknum), table, int(*c.Priority)
	}
	hookA, tableA, priorityA := place(a)
	hookB, tableB, priorityB := place(b)
	return cmp.Or(cmp.Compare(hookA, hookB), cmp.Compare(tableA, tableB), cmp.Compare(priorityA, priorityB))
}
