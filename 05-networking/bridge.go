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
	"strings"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Network is an IPv4 bridge network: a switch in the kernel, which is also the
// gateway of everything that is plugged into it.
type Network struct {
	Name    string       // for messages; the kernel never sees it
	Bridge  string       // the link's name, 1 to 15 bytes; it tells networks and engines apart
	Subnet  netip.Prefix // IPv4
	Gateway netip.Addr   // the bridge's own address, in Subnet
	MTU     int          // bytes; 0: 1500
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
// firewall. When it fails on a bridge that it made itself, nothing stays.
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
	if err := n.sysctls(ctx); err != nil {
		return err
	}
	return n.writeRules(ctx)
}

// bridge makes the bridge link and gives it the gateway's address.
func (n *Network) bridge(ctx context.Context, h *netlink.Handle) (made bool, err error) {
	link, err := h.LinkByName(n.Bridge)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.Flags = n.Bridge, n.mtu(), net.FlagUp
		// An address of its own. By default a bridge takes the lowest of its
		// ports', which changes as containers come and go, under the ARP
		// entries of those that stay.
		attrs.HardwareAddr = macOf(n.Gateway)
		chapter.Call(ctx, "a switch, and the host's own port of it",
			"sendto(NETLINK_ROUTE, RTM_NEWLINK ifname=%q kind=\"bridge\" address=%q mtu=%d flags=IFF_UP)", n.Bridge, attrs.HardwareAddr, n.mtu())
		link = &netlink.Bridge{LinkAttrs: attrs}
		if err := h.LinkAdd(link); err != nil {
			return false, fmt.Errorf("make bridge %s: %w", n.Bridge, err)
		}
		made = true
	} else if err != nil {
		return false, fmt.Errorf("look for link %s: %w", n.Bridge, err)
	}
	if link.Type() != "bridge" {
		return made, errdefs.ErrAlreadyExists.WithMessage(fmt.Sprintf("network %s: the host has a link %s already, a %s", n.Name, n.Bridge, link.Type()))
	}

	address := netip.PrefixFrom(n.Gateway, n.Subnet.Bits())
	has, err := h.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return made, fmt.Errorf("addresses of %s: %w", n.Bridge, err)
	}
	missing := true
	for _, a := range has {
		if a.IPNet.String() != address.String() {
			return made, errdefs.ErrAlreadyExists.WithMessage(fmt.Sprintf("network %s: bridge %s has the address %s already, another network's", n.Name, n.Bridge, a.IPNet))
		}
		missing = false
	}
	if missing {
		chapter.Call(ctx, "the gateway; the route to the subnet comes with it",
			"sendto(NETLINK_ROUTE, RTM_NEWADDR ifname=%q local=%q)", n.Bridge, address)
		if err := h.AddrAdd(link, &netlink.Addr{IPNet: ipNet(address)}); err != nil {
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

// sysctls sets what the kernel's defaults do not allow. All but the first
// belong to the bridge and go with it.
func (n *Network) sysctls(ctx context.Context) error {
	for _, s := range []struct{ path, value, why string }{
		{"ipv4/ip_forward", "1",
			"the host becomes a router between the bridge and its other links"},
		{"ipv4/conf/" + n.Bridge + "/route_localnet", "1",
			"127.0.0.1 may reach a published port through the bridge; the chain loopback drops what comes the other way"},
		{"ipv6/conf/" + n.Bridge + "/disable_ipv6", "1",
			"no container tells the host, by router advertisement, to route IPv6 through it (CVE-2020-13401)"},
	} {
		path := "/proc/sys/net/" + s.path
		now, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) && strings.HasPrefix(s.path, "ipv6/") {
			continue // a kernel without IPv6
		}
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(now)) == s.value {
			continue
		}
		chapter.Call(ctx, s.why, "write(%q, %q)", path, s.value)
		if err := os.WriteFile(path, []byte(s.value), 0); err != nil {
			return fmt.Errorf("write %s to %s: %w", s.value, path, err)
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
