//go:build linux

package networking

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Network is a bridge network: a switch in the kernel, which is also the
// gateway of everything that is plugged into it.
type Network struct {
	Name     string       // for messages; the kernel never sees it
	Bridge   string       // the link's name, 1 to 15 bytes; it tells networks and engines apart
	Subnet   netip.Prefix // IPv4
	Gateway  netip.Addr   // the bridge's own address, in Subnet
	Subnet6  netip.Prefix // IPv6; the zero value: none
	Gateway6 netip.Addr   // the bridge's own address, in Subnet6
	MTU      int          // bytes; 0: 1500
	Internal bool         // no way out, none in, and none to the host
	Routed   bool         // the world knows the way to Subnet: no translation
	Routed6  bool         // the world knows the way to Subnet6
}

// bridgeName is what both link names and nft's identifiers may be made of.
var bridgeName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_.-]{0,14}$`)

func (n *Network) check() error {
	switch {
	case !bridgeName.MatchString(n.Bridge):
		return invalid("network %s: %q is no name for a bridge (1 to 15 letters, digits, '_', '.' and '-', a letter first)", n.Name, n.Bridge)
	case !n.Subnet.IsValid() || !n.Subnet.Addr().Is4() || n.Subnet.Bits() > 30:
		return invalid("network %s: %s is not an IPv4 subnet with room for a gateway and a container", n.Name, n.Subnet)
	case !n.Subnet.Contains(n.Gateway):
		return invalid("network %s: gateway %s is not in %s", n.Name, n.Gateway, n.Subnet)
	case n.MTU != 0 && n.MTU < 68:
		return invalid("network %s: an MTU of %d is less than IPv4's smallest, 68", n.Name, n.MTU)
	case !n.Subnet6.IsValid():
		if n.Gateway6.IsValid() || n.Routed6 {
			return invalid("network %s: an IPv6 gateway or routing without an IPv6 subnet", n.Name)
		}
	case !n.Subnet6.Addr().Is6() || n.Subnet6.Addr().Is4In6() || n.Subnet6.Bits() > 126:
		return invalid("network %s: %s is not an IPv6 subnet with room for a gateway and a container", n.Name, n.Subnet6)
	case !n.Subnet6.Contains(n.Gateway6):
		return invalid("network %s: gateway %s is not in %s", n.Name, n.Gateway6, n.Subnet6)
	case n.MTU != 0 && n.MTU < 1280:
		return invalid("network %s: an MTU of %d is less than IPv6's smallest, 1280", n.Name, n.MTU)
	}
	return nil
}

func (n *Network) mtu() int {
	if n.MTU == 0 {
		return 1500
	}
	return n.MTU
}

// Create makes the network, or what is missing of it: the bridge, its address,
// the sysctls, the rules. On a network that is complete it changes nothing, so
// that an engine calls it at every start, and after somebody flushed the
// firewall; several at the same time make one network. When it fails on a bridge
// that it made itself, nothing stays.
//
// A bridge of that name which carries another address belongs to somebody
// else: errdefs.ErrAlreadyExists.
//
// Undo: [Network.Delete]. The sysctl net.ipv4.ip_forward stays set, because
// nobody can know who else has come to need it.
func (n *Network) Create(ctx context.Context) (err error) {
	if err := n.check(); err != nil {
		return err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()

	made, err := n.bridge(ctx, h)
	if made {
		defer func() {
			if err != nil {
				err = errors.Join(err, n.Delete(context.WithoutCancel(ctx)))
			}
		}()
	}
	if err != nil {
		return err
	}
	if err := n.replug(ctx, h); err != nil {
		return err
	}
	return n.writeRules(ctx)
}

// replug puts those cables of this network into the bridge that are in none,
// because somebody removed the bridge.
func (n *Network) replug(ctx context.Context, h *netlink.Handle) error {
	ports, err := n.ports(h)
	if err != nil {
		return err
	}
	for _, port := range ports {
		if port.Attrs().MasterIndex != 0 || port.Attrs().Flags&net.FlagUp == 0 {
			continue // in its place; or never finished, and [Network.Endpoints] tells of it
		}
		bridge, err := h.LinkByName(n.Bridge)
		if err != nil {
			return fmt.Errorf("look for bridge %s: %w", n.Bridge, err)
		}
		chapter.Call(ctx, "a cable that hung loose", "sendto(NETLINK_ROUTE, RTM_SETLINK ifname=%q master=%q)", port.Attrs().Name, n.Bridge)
		if err := h.LinkSetMaster(port, bridge); err != nil {
			return fmt.Errorf("plug %s into %s: %w", port.Attrs().Name, n.Bridge, err)
		}
	}
	return nil
}

// bridge makes the bridge link and gives it the gateway's addresses.
func (n *Network) bridge(ctx context.Context, h *netlink.Handle) (made bool, err error) {
	link, err := h.LinkByName(n.Bridge)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = n.Bridge, n.mtu()
		// An address of its own. By default a bridge takes the lowest of its
		// ports', which changes as containers come and go, under the ARP
		// entries of those that stay.
		attrs.HardwareAddr = macOf(n.Gateway)
		chapter.Call(ctx, "a switch, and the host's own port of it",
			"sendto(NETLINK_ROUTE, RTM_NEWLINK ifname=%q kind=\"bridge\" address=%q mtu=%d)", n.Bridge, attrs.HardwareAddr, n.mtu())
		link = &netlink.Bridge{LinkAttrs: attrs}
		err = h.LinkAdd(link)
		made = err == nil
		if errors.Is(err, unix.EEXIST) { // another Create was a moment ahead
			link, err = h.LinkByName(n.Bridge)
		}
	}
	if err != nil {
		return false, fmt.Errorf("find or make bridge %s: %w", n.Bridge, err)
	}
	if link.Type() != "bridge" {
		return made, errdefs.ErrAlreadyExists.WithMessage(fmt.Sprintf("network %s: the host has a link %s already, a %s", n.Name, n.Bridge, link.Type()))
	}
	missing, err := n.missing(h, link)
	if err != nil {
		return made, err
	}
	if err := n.sysctls(ctx); err != nil {
		return made, err
	}
	for _, address := range missing {
		chapter.Call(ctx, "the host's own address in the network; the route to the subnet comes with it",
			"sendto(NETLINK_ROUTE, RTM_NEWADDR ifname=%q local=%q)", n.Bridge, address)
		if err := h.AddrAdd(link, addrOf(address)); err != nil && !errors.Is(err, unix.EEXIST) { // as before
			return made, fmt.Errorf("give %s to %s: %w", address, n.Bridge, err)
		}
	}
	if link.Attrs().MTU != n.mtu() {
		chapter.Call(ctx, "the network's MTU", "sendto(NETLINK_ROUTE, RTM_SETLINK ifname=%q mtu=%d)", n.Bridge, n.mtu())
		if err := h.LinkSetMTU(link, n.mtu()); err != nil {
			return made, fmt.Errorf("set the MTU of %s to %d: %w", n.Bridge, n.mtu(), err)
		}
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		chapter.Call(ctx, "a link that is down forwards nothing", "sendto(NETLINK_ROUTE, RTM_NEWLINK ifname=%q flags=IFF_UP)", n.Bridge)
		if err := h.LinkSetUp(link); err != nil {
			return made, fmt.Errorf("set %s up: %w", n.Bridge, err)
		}
	}
	return made, nil
}

// missing returns the gateway's addresses that the bridge does not have, and
// an error where it has another one.
func (n *Network) missing(h *netlink.Handle, bridge netlink.Link) ([]netip.Prefix, error) {
	want := []netip.Prefix{netip.PrefixFrom(n.Gateway, n.Subnet.Bits())}
	if n.Subnet6.IsValid() {
		// The kernel gives a link that is up its link-local address by itself, and
		// for a second does not use it. Until then the host would ask no container
		// where it is on behalf of somebody else.
		want = append(want, netip.PrefixFrom(n.Gateway6, n.Subnet6.Bits()), netip.PrefixFrom(linkLocal(macOf(n.Gateway)), 64))
	}
	has, err := h.AddrList(bridge, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("addresses of %s: %w", n.Bridge, err)
	}
	for _, a := range has {
		i := slices.IndexFunc(want, func(p netip.Prefix) bool { return p.String() == a.IPNet.String() })
		if i < 0 && a.IP.IsLinkLocalUnicast() && a.IP.To4() == nil {
			continue // the kernel's own
		}
		if i < 0 {
			return nil, errdefs.ErrAlreadyExists.WithMessage(fmt.Sprintf("network %s: bridge %s has the address %s already, another network's", n.Name, n.Bridge, a.IPNet))
		}
		want = slices.Delete(want, i, i+1)
	}
	return want, nil
}

// sysctls sets what the kernel's defaults do not allow. All but the
// forwarding belongs to the bridge and goes with it.
func (n *Network) sysctls(ctx context.Context) error {
	link4, link6 := "ipv4/conf/"+n.Bridge, "ipv6/conf/"+n.Bridge
	set := []struct{ path, value, why string }{
		{"ipv4/ip_forward", "1",
			"the host becomes a router between the bridge and its other links"},
		{link4 + "/route_localnet", "1",
			"127.0.0.1 may reach a published port through the bridge; the guard drops what comes the other way"},
		{link6 + "/accept_ra", "0",
			"no container tells the host, by router advertisement, to route IPv6 through it (CVE-2020-13401)"},
	}
	if n.Subnet6.IsValid() {
		if err := keepRouterAdvertisements(ctx); err != nil {
			return err
		}
		set = append(set, []struct{ path, value, why string }{
			{link6 + "/disable_ipv6", "0", "this network has IPv6"},
			{"ipv6/conf/all/forwarding", "1", "the host routes IPv6 too"},
		}...)
	} else {
		set = append(set, struct{ path, value, why string }{link6 + "/disable_ipv6", "1", "this network has no IPv6, not even to talk to the host"})
	}
	for _, s := range set {
		err := writeSysctl(ctx, s.path, s.value, s.why)
		if errors.Is(err, os.ErrNotExist) && strings.HasPrefix(s.path, "ipv6/") && !n.Subnet6.IsValid() {
			continue // a kernel without IPv6
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func writeSysctl(ctx context.Context, name, value, why string) error {
	path := "/proc/sys/net/" + name
	now, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(now)) == value {
		return err
	}
	chapter.Call(ctx, why, "write(%q, %q)", path, value)
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return fmt.Errorf("write %s to %s: %w", value, path, err)
	}
	return nil
}

// keepRouterAdvertisements keeps a host that got its own IPv6 default route by
// router advertisement on the network: with accept_ra=1, the default, a host
// that becomes a router stops listening to them, and the route expires
// (ip-sysctl.rst). 2 means: also as a router.
func keepRouterAdvertisements(ctx context.Context) error {
	const byRouterAdvertisement = unix.RTPROT_RA
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Protocol: byRouterAdvertisement}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return fmt.Errorf("list IPv6 routes: %w", err)
	}
	for _, r := range routes {
		link, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			continue // gone since
		}
		path := "ipv6/conf/" + link.Attrs().Name + "/accept_ra"
		if now, err := os.ReadFile("/proc/sys/net/" + path); err != nil || strings.TrimSpace(string(now)) != "1" {
			continue
		}
		if err := writeSysctl(ctx, path, "2", "the host's own default route comes this way, and a router does not listen by default"); err != nil {
			return err
		}
	}
	return nil
}

// Delete removes the network's rules and its bridge; the ports of the bridge
// lose their switch. A network that is not there is no error.
func (n *Network) Delete(ctx context.Context) error {
	if err := n.check(); err != nil {
		return err
	}
	err := n.deleteRules(ctx)
	chapter.Call(ctx, "the switch goes, and its address and route with it", "sendto(NETLINK_ROUTE, RTM_DELLINK ifname=%q)", n.Bridge)
	return errors.Join(err, deleteLink(n.Bridge, "bridge"))
}

// deleteLink removes a link of that name and kind, when there is one.
func deleteLink(name, kind string) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for link %s: %w", name, err)
	}
	if link.Type() != kind {
		return errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("link %s is a %s, not a %s of ours", name, link.Type(), kind))
	}
	// Somebody else, the kernel for one, may have removed it since.
	if err := h.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove link %s: %w", name, err)
	}
	return nil
}

// addrOf is an address as RTM_NEWADDR takes it. One of IPv6 may be used at
// once: the kernel need not ask first, for a second, who else has it
// (duplicate address detection), because whoever hands it out knows.
func addrOf(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// ipNet is the older type, which the netlink package speaks.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// macOf derives an Ethernet address from an IPv4 address: 02 says that it is
// nobody's by birth (IEEE 802, locally administered), and two that differ in
// one differ in the other.
func macOf(a netip.Addr) net.HardwareAddr {
	ip := a.As4()
	return net.HardwareAddr{0x02, 0xdd, ip[0], ip[1], ip[2], ip[3]}
}
