//go:build linux

package networking

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Endpoints returns what the kernel has of this network: one Endpoint for each
// address that has a veth in the bridge (then with HostInterface), a place in
// the guard's sets (then with MAC and Address6) or a published port (then with
// Ports). Interface, which is in the container's namespace, stays empty. An
// engine that starts compares this with what it has written down.
func (n *Network) Endpoints(ctx context.Context) ([]Endpoint, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	ports, err := n.ports(h)
	if err != nil {
		return nil, err
	}
	transactions.Lock()
	known, err := n.known()
	transactions.Unlock()
	if err != nil {
		return nil, err
	}
	found := make(map[netip.Addr]*Endpoint)
	var order []*Endpoint
	at := func(a netip.Addr) *Endpoint {
		if found[a] == nil {
			found[a] = new(Endpoint)
			order = append(order, found[a])
			if a.Is4() {
				found[a].Address = netip.PrefixFrom(a, n.Subnet.Bits())
			} else {
				found[a].Address6 = netip.PrefixFrom(a, n.Subnet6.Bits())
			}
		}
		return found[a]
	}
	for _, l := range ports {
		a, _ := addressOf(l.Attrs().Name)
		at(a).HostInterface = l.Attrs().Name
	}
	for _, g := range known.guarded {
		a, ok := addressOf(g.port)
		if !ok {
			continue
		}
		ep := at(a)
		ep.MAC = g.mac
		if g.address.Is6() && !g.address.IsLinkLocalUnicast() {
			ep.Address6 = netip.PrefixFrom(g.address, n.Subnet6.Bits())
			found[g.address] = ep
		}
	}
	for _, m := range known.published {
		ep := at(m.address)
		ep.Ports = append(ep.Ports, m.port)
	}
	endpoints := make([]Endpoint, 0, len(order))
	for _, ep := range order {
		endpoints = append(endpoints, *ep)
	}
	return endpoints, nil
}

// ports returns the host's ends of this network's cables. One of this subnet
// that is in no bridge is ours too: its maker was killed between the making of
// the pair and the plugging in, or somebody removed the bridge.
func (n *Network) ports(h *netlink.Handle) ([]netlink.Link, error) {
	links, err := h.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	bridge := 0
	for _, l := range links {
		if l.Attrs().Name == n.Bridge {
			bridge = l.Attrs().Index
		}
	}
	return slices.DeleteFunc(links, func(l netlink.Link) bool {
		a, ours := addressOf(l.Attrs().Name)
		in := bridge != 0 && l.Attrs().MasterIndex == bridge
		loose := l.Attrs().MasterIndex == 0 && n.Subnet.Contains(a)
		return !ours || !in && !loose
	}), nil
}

// knowledge is what the rules know of a network's containers.
type knowledge struct {
	published []mapping
	open      []opening
	guarded   []guarded
	ports     []string // the guarded ones
}

// known reads the network's sets and maps; where there are none it is empty.
// The caller holds transactions.
func (n *Network) known() (k knowledge, err error) {
	err = unchanged(func() error {
		k, err = n.read()
		return err
	})
	return k, err
}

func (n *Network) read() (k knowledge, err error) {
	s, c := n.ruleset(), new(nftables.Conn)
	for _, set := range slices.Concat(s.ownSets(), []*nftables.Set{s.guard.ports, s.guard.hosts, s.guard.hosts6}) {
		// Asked for by name first: what the list of elements says of a missing
		// set can't be told from other errors.
		if _, err := c.GetSetByName(set.Table, set.Name); errors.Is(err, unix.ENOENT) {
			continue
		} else if err != nil {
			return k, fmt.Errorf("set %s: %w", set.Name, err)
		}
		elements, err := c.GetSetElements(set)
		if err != nil {
			return k, fmt.Errorf("elements of %s: %w", set.Name, err)
		}
		for _, e := range elements {
			switch set {
			case s.guard.ports:
				if port := linkName(e.Key); n.has(port) {
					k.ports = append(k.ports, port)
				}
			case s.guard.hosts, s.guard.hosts6:
				if g, ok := guardedOf(e.Key); ok && n.has(g.port) {
					k.guarded = append(k.guarded, g)
				}
			case s.open, s.open6:
				if o, ok := openingOf(e.Key); ok {
					k.open = append(k.open, o)
				}
			default:
				if m, ok := mappingOf(e); ok {
					k.published = append(k.published, m)
				}
			}
		}
	}
	return k, nil
}

// has reports whether a port that the guard knows is of this network.
func (n *Network) has(hostInterface string) bool {
	a, ok := addressOf(hostInterface)
	return ok && n.Subnet.Contains(a)
}
