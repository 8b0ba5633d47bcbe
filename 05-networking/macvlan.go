//go:build linux

package networking

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Direct is a network without a switch and without translation: its containers
// sit on a link of the host, and are neighbours of the host's neighbours. The
// addresses are of that outer network, and whoever manages it must know that
// they are taken.
//
// The host itself does not reach these containers by the parent, nor they it:
// what the host sends leaves by the wire and is not looped back. No port is
// published, because nothing needs to be.
type Direct struct {
	Name string // for messages, and on a sub-interface of ours
	// Kind is "macvlan", where each container has an Ethernet address of its
	// own, or "ipvlan", where all have the parent's, as a switch with port
	// security or a wireless link asks for.
	Kind string
	// Mode is bridge (also if ""), private, vepa or passthru for macvlan, and
	// l2 (also if ""), l3 or l3s for ipvlan.
	Mode string
	// Parent is a link of the host. eth0.10 is VLAN 10 of eth0 (IEEE 802.1Q);
	// Create makes it where there is none.
	Parent   string
	Subnet   netip.Prefix // IPv4
	Gateway  netip.Addr   // a router in Subnet; none: nobody beyond Subnet is reached. l3 and l3s have no use for one
	Subnet6  netip.Prefix // IPv6; the zero value: none
	Gateway6 netip.Addr
	MTU      int // bytes, at most the parent's; 0: the parent's
}

var macvlanModes = map[string]netlink.MacvlanMode{
	"":         netlink.MACVLAN_MODE_BRIDGE,
	"bridge":   netlink.MACVLAN_MODE_BRIDGE,
	"private":  netlink.MACVLAN_MODE_PRIVATE,
	"vepa":     netlink.MACVLAN_MODE_VEPA,
	"passthru": netlink.MACVLAN_MODE_PASSTHRU,
}

var ipvlanModes = map[string]netlink.IPVlanMode{
	"":    netlink.IPVLAN_MODE_L2,
	"l2":  netlink.IPVLAN_MODE_L2,
	"l3":  netlink.IPVLAN_MODE_L3,
	"l3s": netlink.IPVLAN_MODE_L3S,
}

func (d *Direct) check() error {
	_, macvlan := macvlanModes[d.Mode]
	_, ipvlan := ipvlanModes[d.Mode]
	switch {
	case d.Kind != "macvlan" && d.Kind != "ipvlan":
		return invalid("network %s: %q is neither macvlan nor ipvlan", d.Name, d.Kind)
	case d.Kind == "macvlan" && !macvlan:
		return invalid("network %s: macvlan has no mode %q (bridge, private, vepa, passthru)", d.Name, d.Mode)
	case d.Kind == "ipvlan" && !ipvlan:
		return invalid("network %s: ipvlan has no mode %q (l2, l3, l3s)", d.Name, d.Mode)
	case d.Parent == "" || len(d.Parent) >= unix.IFNAMSIZ:
		return invalid("network %s: %q is no name of a link (1 to 15 bytes)", d.Name, d.Parent)
	case !d.Subnet.IsValid() || !d.Subnet.Addr().Is4():
		return invalid("network %s: %s is not an IPv4 subnet", d.Name, d.Subnet)
	case d.Gateway.IsValid() && !d.Subnet.Contains(d.Gateway):
		return invalid("network %s: gateway %s is not in %s", d.Name, d.Gateway, d.Subnet)
	case d.Subnet6.IsValid() && !d.Subnet6.Addr().Is6():
		return invalid("network %s: %s is not an IPv6 subnet", d.Name, d.Subnet6)
	case d.Gateway6.IsValid() && !d.Subnet6.Contains(d.Gateway6):
		return invalid("network %s: gateway %s is not in %s", d.Name, d.Gateway6, d.Subnet6)
	}
	return nil
}

// prepare fills in what Connect derives, and refuses what cannot work.
func (d *Direct) prepare(ep *Endpoint) error {
	address, address6 := ep.Address.Addr(), ep.Address6.Addr()
	switch {
	case !d.Subnet.Contains(address) || address == d.Gateway || ep.Address.Bits() != d.Subnet.Bits():
		return invalid("network %s: %s is no address for a container in %s", d.Name, ep.Address, d.Subnet)
	case address6.IsValid() && (!d.Subnet6.IsValid() || !d.Subnet6.Contains(address6) || address6 == d.Gateway6 || ep.Address6.Bits() != d.Subnet6.Bits()):
		return invalid("network %s: %s is no address for a container in %s", d.Name, ep.Address6, d.Subnet6)
	case len(ep.Ports) > 0:
		return invalid("network %s: a port of a %s network is not published: its containers are reached under their own addresses", d.Name, d.Kind)
	case d.Kind == "ipvlan" && ep.MAC != nil:
		return invalid("network %s: ipvlan's containers have the Ethernet address of %s, not %s", d.Name, d.Parent, ep.MAC)
	case len(ep.Interface) >= unix.IFNAMSIZ:
		return invalid("network %s: link name %q has more than 15 bytes", d.Name, ep.Interface)
	}
	// On a wire with other hosts an address that is unique is needed, and the IP
	// address is.
	if d.Kind == "macvlan" && ep.MAC == nil {
		ep.MAC = macOf(address)
	}
	return nil
}

// alias marks a sub-interface as this network's own; the host's own have none
// of ours, and stay when the network goes.
func (d *Direct) alias() string { return "drydock network " + d.Name }

// Create looks for the parent, and makes it where it is a VLAN of a link that
// exists. On a network that is complete it changes nothing. A link that is
// missing is an errdefs.ErrNotFound.
//
// Undo: [Direct.Delete].
func (d *Direct) Create(ctx context.Context) error {
	if err := d.check(); err != nil {
		return err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	_, err = h.LinkByName(d.Parent)
	if !errors.As(err, new(netlink.LinkNotFoundError)) {
		if err != nil {
			err = fmt.Errorf("look for link %s: %w", d.Parent, err)
		}
		return err
	}
	base, id, ok := cutVLAN(d.Parent)
	if !ok {
		return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("network %s: the host has no link %s", d.Name, d.Parent))
	}
	link, err := h.LinkByName(base)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("network %s: the host has neither a link %s nor %s", d.Name, d.Parent, base))
	}
	if err != nil {
		return fmt.Errorf("look for link %s: %w", base, err)
	}

	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = d.Parent, link.Attrs().Index
	chapter.Call(ctx, "a link that puts a tag on what it sends, and gets what has that tag",
		"sendto(NETLINK_ROUTE, RTM_NEWLINK ifname=%q kind=\"vlan\" link=%q id=%d)", d.Parent, base, id)
	vlan := &netlink.Vlan{LinkAttrs: attrs, VlanId: id, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
	if err := h.LinkAdd(vlan); errors.Is(err, unix.EOPNOTSUPP) {
		return errdefs.ErrNotImplemented.WithMessage(fmt.Sprintf("network %s: this kernel has no VLANs for %s: %v (try modprobe 8021q)", d.Name, d.Parent, err))
	} else if err != nil {
		return fmt.Errorf("make VLAN %d of %s: %w", id, base, err)
	}
	chapter.Call(ctx, "whose it is, so that Delete knows", "sendto(NETLINK_ROUTE, RTM_SETLINK ifname=%q ifalias=%q flags=IFF_UP)", d.Parent, d.alias())
	err = h.LinkSetAlias(vlan, d.alias())
	if err == nil {
		err = h.LinkSetUp(vlan)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("set %s up: %w", d.Parent, err), h.LinkDel(vlan))
	}
	return nil
}

// cutVLAN takes eth0.10 apart.
func cutVLAN(name string) (base string, id int, ok bool) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 1 {
		return "", 0, false
	}
	id, err := strconv.Atoi(name[dot+1:])
	return name[:dot], id, err == nil && id > 0 && id < 4095 && name[dot+1:] == strconv.Itoa(id)
}

// Delete removes the parent when Create made it. Containers that are still on
// it lose their link.
func (d *Direct) Delete(ctx context.Context) error {
	if err := d.check(); err != nil {
		return err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(d.Parent)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for link %s: %w", d.Parent, err)
	}
	if link.Type() != "vlan" || link.Attrs().Alias != d.alias() {
		return nil
	}
	chapter.Call(ctx, "the sub-interface goes with its network", "sendto(NETLINK_ROUTE, RTM_DELLINK ifname=%q)", d.Parent)
	if err := h.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove link %s: %w", d.Parent, err)
	}
	return nil
}

// Connect gives the network namespace ns a link of its own on the parent, with
// ep's addresses and default routes. It fills in ep's empty fields. On error
// nothing stays.
//
// Undo: [Direct.Disconnect]. The link goes by itself when ns goes.
func (d *Direct) Connect(ctx context.Context, ns *os.File, ep *Endpoint) (err error) {
	if err := d.check(); err != nil {
		return err
	}
	if err := d.prepare(ep); err != nil {
		return err
	}
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer host.Close()
	inside, err := openInside(ns)
	if err != nil {
		return err
	}
	defer inside.Close()
	parent, err := host.LinkByName(d.Parent)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("network %s: the host has no link %s", d.Name, d.Parent))
	}
	if err != nil {
		return fmt.Errorf("look for link %s: %w", d.Parent, err)
	}
	if err := d.add(ctx, host, inside, parent, ns, ep); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Disconnect(context.WithoutCancel(ctx), ns, ep))
		}
	}()
	index, err := ep.configure(ctx, inside, d.defaultRoutes(ep))
	if errors.Is(err, unix.EADDRINUSE) {
		return errdefs.ErrAlreadyExists.WithMessage(fmt.Sprintf("network %s: %s of %s is in use on %s", d.Name, ep.MAC, ep.Address.Addr(), d.Parent))
	}
	// An ipvlan has no state of its own to wait for.
	if err != nil || d.Kind == "ipvlan" || parent.Attrs().OperState != netlink.OperUp {
		return err
	}
	return awaitUp(ctx, inside, netns.NsHandle(ns.Fd()), index)
}

// add makes the link in ns.
func (d *Direct) add(ctx context.Context, host, inside *netlink.Handle, parent netlink.Link, ns *os.File, ep *Endpoint) error {
	attrs := netlink.NewLinkAttrs()
	attrs.ParentIndex, attrs.MTU, attrs.HardwareAddr = parent.Attrs().Index, d.MTU, ep.MAC
	// Made here, because the parent's index counts here, and born there.
	attrs.Namespace = netlink.NsFd(ns.Fd())
	for number := 0; ; number++ {
		if attrs.Name = ep.Interface; attrs.Name == "" {
			attrs.Name = fmt.Sprintf("eth%d", number)
		}
		if _, err := inside.LinkByName(attrs.Name); err == nil && ep.Interface == "" {
			continue
		}
		var link netlink.Link = &netlink.Macvlan{LinkAttrs: attrs, Mode: macvlanModes[d.Mode]}
		if d.Kind == "ipvlan" {
			link = &netlink.IPVlan{LinkAttrs: attrs, Mode: ipvlanModes[d.Mode]}
		}
		chapter.Call(ctx, "a link on the parent's wire, with an address of its own",
			"sendto(NETLINK_ROUTE, RTM_NEWLINK ifname=%q kind=%q link=%q mode=%q address=%q netns_fd=%d)", attrs.Name, d.Kind, d.Parent, d.Mode, ep.MAC, ns.Fd())
		err := host.LinkAdd(link)
		switch {
		case err == nil:
			ep.Interface = attrs.Name
			return nil
		case errors.Is(err, unix.EEXIST) && ep.Interface == "":
			continue // somebody else connects the same container
		case errors.Is(err, unix.EEXIST):
			return errdefs.ErrAlreadyExists.WithMessage(fmt.Sprintf("network %s: the container has a link %s already", d.Name, attrs.Name))
		case errors.Is(err, unix.EOPNOTSUPP):
			return errdefs.ErrNotImplemented.WithMessage(fmt.Sprintf("network %s: this kernel has no %s: %v (try modprobe %[2]s)", d.Name, d.Kind, err))
		case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EINVAL):
			return errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf(
				"network %s: %s takes no %s in mode %q: %v (it is a bridge's port, or has links of the other kind, or of mode passthru)", d.Name, d.Parent, d.Kind, d.Mode, err))
		default:
			return fmt.Errorf("make %s %s on %s: %w", d.Kind, attrs.Name, d.Parent, err)
		}
	}
}

// defaultRoutes are the container's. In ipvlan's layer 3 modes the host routes,
// by its own table, and there is nobody to ask by ARP: the route names no gateway.
func (d *Direct) defaultRoutes(ep *Endpoint) []*netlink.Route {
	var routes []*netlink.Route
	for _, way := range []struct {
		address netip.Prefix
		gateway netip.Addr
		all     netip.Prefix
	}{
		{ep.Address, d.Gateway, netip.PrefixFrom(netip.IPv4Unspecified(), 0)},
		{ep.Address6, d.Gateway6, netip.PrefixFrom(netip.IPv6Unspecified(), 0)},
	} {
		switch layer3 := strings.HasPrefix(d.Mode, "l3"); {
		case !way.address.IsValid():
		case layer3:
			routes = append(routes, &netlink.Route{Dst: ipNet(way.all), Scope: netlink.SCOPE_LINK})
		case way.gateway.IsValid():
			routes = append(routes, &netlink.Route{Gw: way.gateway.AsSlice()})
		}
	}
	return routes
}

// Disconnect removes ep's link from ns. One that is gone is no error.
func (d *Direct) Disconnect(ctx context.Context, ns *os.File, ep *Endpoint) error {
	if err := d.check(); err != nil {
		return err
	}
	inside, err := openInside(ns)
	if err != nil {
		return err
	}
	defer inside.Close()
	link, err := inside.LinkByName(ep.Interface)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for link %s in the container: %w", ep.Interface, err)
	}
	if link.Type() != d.Kind {
		return errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("network %s: link %s of the container is a %s, not a %s", d.Name, ep.Interface, link.Type(), d.Kind))
	}
	chapter.Call(ctx, "the container's link goes", "sendto(NETLINK_ROUTE, RTM_DELLINK ifname=%q)", ep.Interface)
	if err := inside.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove link %s in the container: %w", ep.Interface, err)
	}
	return nil
}
