//go:build linux

package networking

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A SubnetPool is a range of addresses from which networks get subnets, all of
// one size.
type SubnetPool struct {
	Base netip.Prefix
	Bits int // the length of each subnet's prefix
}

// PrivateSubnets are what remains of the private IPv4 addresses (RFC 1918) when
// those are left away that offices, clouds and Docker's first network like to have.
var PrivateSubnets = []SubnetPool{
	{netip.MustParsePrefix("172.24.0.0/13"), 16},
	{netip.MustParsePrefix("172.18.0.0/15"), 16},
	{netip.MustParsePrefix("172.20.0.0/14"), 16},
	{netip.MustParsePrefix("192.168.0.0/16"), 24},
}

// LocalSubnets6 returns the unique local IPv6 addresses of one engine: a /48
// that is derived from seed, and so the same at every start and not that of
// another host, with a /64 for each network (RFC 4193).
func LocalSubnets6(seed string) SubnetPool {
	sum := sha256.Sum256([]byte(seed))
	return SubnetPool{netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, sum[0], sum[1], sum[2], sum[3], sum[4]}), 48), 64}
}

func (p SubnetPool) check() error {
	if !p.Base.IsValid() || p.Bits < p.Base.Bits() || p.Bits > p.Base.Addr().BitLen()-2 {
		return invalid("subnets of /%d in %s: a subnet lies within its pool, and has room for a gateway and a container", p.Bits, p.Base)
	}
	return nil
}

// size is the number of subnets, or of the first 65536.
func (p SubnetPool) size() int { return 1 << min(p.Bits-p.Base.Bits(), 16) }

// at returns subnet number i.
func (p SubnetPool) at(i int) netip.Prefix {
	a := p.Base.Masked().Addr().AsSlice()
	for bit := p.Bits - 1; i > 0; bit, i = bit-1, i>>1 {
		a[bit/8] |= byte(i&1) << (7 - bit%8)
	}
	base, _ := netip.AddrFromSlice(a)
	return netip.PrefixFrom(base, p.Bits)
}

// CreateFree is [Network.Create] for a network that has no subnet yet. It takes
// one in IPv4, and one in IPv6 where a pool has such addresses, that no route of the host
// leads into, with the first address as the gateway; what the network has
// already it keeps. Two engines that look at the same time never get the same one.
//
// A subnet of the network's own that is in use is an errdefs.ErrAlreadyExists,
// and when the pools are used up, errdefs.ErrResourceExhausted.
func (n *Network) CreateFree(ctx context.Context, pools ...SubnetPool) error {
	for _, p := range pools {
		if err := p.check(); err != nil {
			return fmt.Errorf("network %s: %w", n.Name, err)
		}
	}
	own, own6 := n.Subnet.IsValid(), n.Subnet6.IsValid()
	for try := 0; ; try++ {
		taken, err := takenSubnets(n.Bridge)
		if err != nil {
			return err
		}
		for _, subnet := range []netip.Prefix{n.Subnet, n.Subnet6} {
			if i := overlapping(subnet, taken); i >= 0 && (own && subnet.Addr().Is4() || own6 && subnet.Addr().Is6()) {
				return errdefs.ErrAlreadyExists.WithMessage(fmt.Sprintf("network %s: the host has a route to %s, which overlaps %s", n.Name, taken[i], subnet))
			}
		}
		if !own {
			if n.Subnet, n.Gateway, err = free(pools, netip.Addr.Is4, taken, try); err != nil {
				return fmt.Errorf("network %s: %w", n.Name, err)
			}
		}
		if !own6 && slices.ContainsFunc(pools, func(p SubnetPool) bool { return p.Base.Addr().Is6() }) {
			if n.Subnet6, n.Gateway6, err = free(pools, netip.Addr.Is6, taken, try); err != nil {
				return fmt.Errorf("network %s: %w", n.Name, err)
			}
		}
		if err := n.Create(ctx); err != nil {
			return err
		}
		// Somebody else may have looked before our bridge had its address. The
		// kernel takes one address after the other; who is second sees the
		// first one's now, and so at most one of two keeps the subnet. Both may
		// let go; then each begins at a place of its own.
		taken, err = takenSubnets(n.Bridge)
		if err == nil && overlapping(n.Subnet, taken) < 0 && overlapping(n.Subnet6, taken) < 0 {
			return nil
		}
		if err := errors.Join(err, n.Delete(context.WithoutCancel(ctx)), ctx.Err()); err != nil {
			return err
		}
	}
}

// free returns the first subnet of a family that is not taken, and its first
// address. After a try that failed it begins anywhere.
func free(pools []SubnetPool, family func(netip.Addr) bool, taken []netip.Prefix, try int) (netip.Prefix, netip.Addr, error) {
	var looked []SubnetPool
	for _, p := range pools {
		if !family(p.Base.Addr()) {
			continue
		}
		looked = append(looked, p)
		first := 0
		if try > 0 {
			first = rand.IntN(p.size())
		}
		for i := range p.size() {
			subnet := p.at((first + i) % p.size())
			if overlapping(subnet, taken) < 0 {
				return subnet, subnet.Addr().Next(), nil
			}
		}
	}
	return netip.Prefix{}, netip.Addr{}, errdefs.ErrResourceExhausted.WithMessage(fmt.Sprintf("no subnet is free: the host has routes into all of %v; choose one yourself, or remove networks", looked))
}

func (p SubnetPool) String() string { return fmt.Sprintf("%s in /%d", p.Base, p.Bits) }

func overlapping(p netip.Prefix, others []netip.Prefix) int {
	return slices.IndexFunc(others, func(o netip.Prefix) bool { return p.IsValid() && p.Overlaps(o) })
}

// takenSubnets returns where the host's routes lead, but for the default
// routes, those of the link own, and those that every link or every host has.
func takenSubnets(own string) ([]netip.Prefix, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	ownIndex := -1
	if link, err := h.LinkByName(own); err == nil {
		ownIndex = link.Attrs().Index
	}
	var taken []netip.Prefix
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		// All tables: a subnet that only a policy route leads to is in use as well.
		routes, err := h.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if r.Dst == nil || r.LinkIndex == ownIndex {
				continue
			}
			bits, _ := r.Dst.Mask.Size()
			a, ok := netip.AddrFromSlice(r.Dst.IP)
			if a = a.Unmap(); ok && bits > 0 && !a.IsLinkLocalUnicast() && !a.IsMulticast() {
				taken = append(taken, netip.PrefixFrom(a, bits))
			}
		}
	}
	return taken, nil
}
