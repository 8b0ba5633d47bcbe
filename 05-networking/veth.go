//go:build linux

package networking

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Endpoint is a container's end of the cable, and what is published of it.
type Endpoint struct {
	Interface     string           // in the container; "": the first of eth0, eth1, … that it has not; Connect sets it
	Address       netip.Prefix     // the container's address with the subnet's length
	Address6      netip.Prefix     // the same in IPv6, where the network has it
	MAC           net.HardwareAddr // nil: derived from Address
	HostInterface string           // the end in the bridge: Connect sets it, from Address
	Ports         []Port           // each with its HostPort: see Reserve
	// Metric is that of the default routes: of a container's several networks
	// the one with the lowest is its way out, and when that is disconnected, the
	// next. 0: the first one connected is, see [defaultMetric].
	Metric int
	// Router is a container that sends under other addresses than its own,
	// because it forwards, or answers for, others: its frames are not checked.
	Router bool
}

// prepare fills in what can be derived, and refuses what cannot work.
func (n *Network) prepare(ep *Endpoint) error {
	address, address6 := ep.Address.Addr(), ep.Address6.Addr()
	if !n.Subnet.Contains(address) || address == n.Gateway || ep.Address.Bits() != n.Subnet.Bits() {
		return invalid("network %s: %s is no address for a container in %s", n.Name, ep.Address, n.Subnet)
	}
	switch {
	case !n.Subnet6.IsValid() && ep.Address6.IsValid():
		return invalid("network %s: it has no IPv6 subnet for the address %s", n.Name, ep.Address6)
	case n.Subnet6.IsValid() && (!n.Subnet6.Contains(address6) || address6 == n.Gateway6 || ep.Address6.Bits() != n.Subnet6.Bits()):
		return invalid("network %s: %s is no address for a container in %s", n.Name, ep.Address6, n.Subnet6)
	case len(ep.Interface) >= unix.IFNAMSIZ:
		return invalid("network %s: link name %q has more than 15 bytes", n.Name, ep.Interface)
	case ep.Metric < 0:
		return invalid("network %s: %d is no metric of a route", n.Name, ep.Metric)
	case len(ep.Ports) > 0 && n.Internal:
		return invalid("network %s: it is internal, and a port of it cannot be published", n.Name)
	}
	if ep.MAC == nil {
		ep.MAC = macOf(address)
	}
	if len(ep.MAC) != 6 || ep.MAC[0]&1 != 0 {
		return invalid("network %s: %s is not the Ethernet address of one station (6 bytes, the first one even)", n.Name, ep.MAC)
	}
	ep.HostInterface = hostInterface(address)
	for _, p := range ep.Ports {
		if err := p.check(); err != nil {
			return err
		}
		if p.HostPort == 0 {
			return invalid("port %s: no host port is chosen yet", p)
		}
	}
	return nil
}

// vethPrefix and the address in hexadecimal are the name of the host's end:
// veth-ac1e0002 for 172.30.0.2. Whoever lists the links can tell whose it is,
// and the kernel sees to it that no address of a network is plugged in twice.
const vethPrefix = "veth-"

func hostInterface(a netip.Addr) string {
	return vethPrefix + hex.EncodeToString(a.AsSlice())
}

// addressOf is hostInterface's inverse.
func addressOf(hostInterface string) (netip.Addr, bool) {
	b, err := hex.DecodeString(strings.TrimPrefix(hostInterface, vethPrefix))
	if err != nil || len(b) != 4 || !strings.HasPrefix(hostInterface, vethPrefix) {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(b)), true
}

// Connect plugs the network namespace ns into the network: a veth pair, one
// end in the bridge, the other in ns with ep's addresses and a default route
// through the gateway; it publishes ep.Ports. It fills in ep's empty fields. On
// error nothing of it stays. Processes may be running in ns, and it may be
// connected to other networks.
//
// An address that is plugged in already is an errdefs.ErrAlreadyExists, a
// network that has not been created an errdefs.ErrNotFound.
//
// Undo: [Network.Disconnect]. The pair goes by itself when ns goes, some time
// after; the published ports do not.
func (n *Network) Connect(ctx context.Context, ns *os.File, ep *Endpoint) (err error) {
	if err := n.check(); err != nil {
		return err
	}
	if err := n.prepare(ep); err != nil {
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
	bridge, err := host.LinkByName(n.Bridge)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("network %s: the bridge %s is missing", n.Name, n.Bridge))
	}
	if err != nil {
		return fmt.Errorf("look for bridge %s: %w", n.Bridge, err)
	}
	veth, err := n.plug(ctx, host, inside, bridge.Attrs().Index, ns, ep)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, deleteLink(ep.HostInterface, "veth"))
		}
	}()
	// The rules come before the pair is switched on: not one frame goes unseen.
	if err := n.publish(ctx, ep); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.forget(context.WithoutCancel(ctx), ep))
		}
	}()
	// While the kernel looks through its flows the cable comes to life.
	forgotten := make(chan error)
	go func() { forgotten <- n.forgetDatagrams(ctx, ep.Ports) }()
	err = n.switchOn(ctx, host, inside, ns, bridge, veth, ep)
	return errors.Join(<-forgotten, err)
}

// openInside opens a netlink socket in the container's namespace. It stays in
// the one in which it was opened, and the thread comes back at once.
func openInside(ns *os.File) (*netlink.Handle, error) {
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink in the container's namespace: %w", err)
	}
	return h, nil
}

// switchOn gives the container's end its addresses, and waits until both carry packets.
func (n *Network) switchOn(ctx context.Context, host, inside *netlink.Handle, ns *os.File, bridge, veth netlink.Link, ep *Endpoint) error {
	chapter.Call(ctx, "the bridge's end is switched on", "sendto(NETLINK_ROUTE, RTM_NEWLINK ifname=%q flags=IFF_UP)", ep.HostInterface)
	if err := host.LinkSetUp(veth); err != nil {
		return fmt.Errorf("set %s up: %w", ep.HostInterface, err)
	}
	index, err := ep.configure(ctx, inside, n.defaultRoutes())
	if err != nil {
		return err
	}
	if err := awaitUp(ctx, inside, netns.NsHandle(ns.Fd()), index); err != nil {
		return err
	}
	if n.Subnet6.IsValid() {
		if err := awaitAddress(ctx, inside, netns.NsHandle(ns.Fd()), ep.Address6.Addr()); err != nil {
			return err
		}
		if err := awaitAddress(ctx, host, netns.None(), n.Gateway6); err != nil {
			return err
		}
	}
	// The bridge too: it has no carrier until it has a port that has one.
	for _, index := range []int{veth.Attrs().Index, bridge.Attrs().Index} {
		if err := awaitUp(ctx, host, netns.None(), index); err != nil {
			return err
		}
	}
	return nil
}

// plug makes the veth pair, one end in the bridge, the other in ns, both down.
// On error there is no pair.
func (n *Network) plug(ctx context.Context, host, inside *netlink.Handle, bridge int, ns *os.File, ep *Endpoint) (_ *netlink.Veth, err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex = ep.HostInterface, n.mtu(), bridge
	veth := netlink.NewVeth(attrs)
	veth.PeerHardwareAddr = ep.MAC
	// Born in its place: the host's namespace never has a link eth0 more, not
	// even for a moment, and nothing needs to be moved or renamed.
	veth.PeerNamespace = netlink.NsFd(ns.Fd())
	// The kernel says who has a name first. Where we choose it, and somebody
	// else connects the same container meanwhile, the next one is tried.
	for number := 0; ; number++ {
		if veth.PeerName = ep.Interface; veth.PeerName == "" {
			veth.PeerName = fmt.Sprintf("eth%d", number)
		}
		if _, err := inside.LinkByName(veth.PeerName); err == nil && ep.Interface == "" {
			continue
		}
		chapter.Call(ctx, "a cable: one end in the bridge, the other in the container",
			"sendto(NETLINK_ROUTE, RTM_NEWLINK ifname=%q kind=\"veth\" mtu=%d master=%q peer={ifname=%q address=%q netns_fd=%d})",
			ep.HostInterface, n.mtu(), n.Bridge, veth.PeerName, ep.MAC, ns.Fd())
		if err = host.LinkAdd(veth); err == nil {
			break
		}
		if !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("make veth pair %s, %s: %w", ep.HostInterface, veth.PeerName, err)
		}
		_, err := host.LinkByName(ep.HostInterface)
		if taken := err == nil; taken || ep.Interface != "" {
			return nil, errdefs.ErrAlreadyExists.WithMessage(fmt.Sprintf(
				"network %s: %s is in use (the host has a link %s), or the container has a link %s already", n.Name, ep.Address.Addr(), ep.HostInterface, veth.PeerName))
		}
	}
	ep.Interface = veth.PeerName
	if err := n.port(ctx, host, veth, ep); err != nil {
		return nil, errors.Join(err, deleteLink(ep.HostInterface, "veth"))
	}
	return veth, nil
}

// switchAddresses are 01:80:c2:00:00:00 to :0f, which switches use among
// themselves. A bridge gives such a frame to the host at once, as the port's
// own and before any rule for frames; with these bits it forwards it like others.
// The one for :01, pause, cannot be set: those it drops.
const switchAddresses = 0xffff &^ (1 << 1)

// port tells the bridge how to treat its end of the cable.
func (n *Network) port(ctx context.Context, host *netlink.Handle, veth netlink.Link, ep *Endpoint) error {
	if bridgedPacketsAreFiltered() {
		chapter.Call(ctx, "br_netfilter is on: a packet to one's own published port leaves by the port it came in",
			"sendto(NETLINK_ROUTE, RTM_SETLINK ifname=%q IFLA_BRPORT_MODE=1)", ep.HostInterface)
		if err := host.LinkSetHairpin(veth, true); err != nil {
			return fmt.Errorf("set hairpin mode of %s: %w", ep.HostInterface, err)
		}
	}
	chapter.Call(ctx, "frames to a switch's own addresses pass the guard, as all others do",
		"sendto(NETLINK_ROUTE, RTM_SETLINK ifname=%q IFLA_BRPORT_GROUP_FWD_MASK=%#x)", ep.HostInterface, switchAddresses)
	if err := host.LinkSetBRSlaveGroupFwdMask(veth, switchAddresses); err != nil {
		return fmt.Errorf("have %s forward what is for a switch: %w", ep.HostInterface, err)
	}
	if ep.Router {
		return nil
	}
	// A bridge learns from what it hears who is where, and sends what is for
	// somebody unknown to all. Neither is needed where each port has one
	// station and its address is known, and both are what an eavesdropper needs.
	chapter.Call(ctx, "what is for the container goes to this port, and to no other",
		"sendto(NETLINK_ROUTE, RTM_NEWNEIGH family=AF_BRIDGE lladdr=%q dev=%q NTF_MASTER NUD_NOARP)", ep.MAC, ep.HostInterface)
	// NUD_NOARP is what bridge(8) calls static; a permanent one would be the host's own.
	if err := host.NeighSet(&netlink.Neigh{
		Family: unix.AF_BRIDGE, LinkIndex: veth.Attrs().Index, HardwareAddr: ep.MAC,
		Flags: netlink.NTF_MASTER, State: netlink.NUD_NOARP,
	}); err != nil {
		return fmt.Errorf("tell bridge %s where %s is: %w", n.Bridge, ep.MAC, err)
	}
	chapter.Call(ctx, "this port learns no further address",
		"sendto(NETLINK_ROUTE, RTM_SETLINK ifname=%q IFLA_BRPORT_LEARNING=0)", ep.HostInterface)
	if err := host.LinkSetLearning(veth, false); err != nil {
		return fmt.Errorf("switch learning off on %s: %w", ep.HostInterface, err)
	}
	chapter.Call(ctx, "and gets nothing that is for somebody unknown",
		"sendto(NETLINK_ROUTE, RTM_SETLINK ifname=%q IFLA_BRPORT_UNICAST_FLOOD=0)", ep.HostInterface)
	if err := host.LinkSetFlood(veth, false); err != nil {
		return fmt.Errorf("switch flooding off on %s: %w", ep.HostInterface, err)
	}
	return nil
}

// restorePort is port for a cable that is there, after the bridge was made anew.
func (n *Network) restorePort(ctx context.Context, ep *Endpoint) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	veth, err := h.LinkByName(ep.HostInterface)
	if errors.As(err, new(netlink.LinkNotFoundError)) || err == nil && veth.Attrs().MasterIndex == 0 {
		return nil // it has no cable, and what is published of it leads nowhere
	}
	if err != nil {
		return fmt.Errorf("look for link %s: %w", ep.HostInterface, err)
	}
	return n.port(ctx, h, veth, ep)
}

// defaultMetric of eth0 is 1024, of eth1 1025: a network that is connected
// later does not take over the way out unless it says so.
const defaultMetric = 1024

func (ep *Endpoint) metric() int {
	if ep.Metric != 0 {
		return ep.Metric
	}
	number, err := strconv.Atoi(strings.TrimLeft(ep.Interface, "abcdefghijklmnopqrstuvwxyz-_"))
	if err != nil || number < 0 {
		return defaultMetric
	}
	return defaultMetric + number
}

// defaultRoutes are the container's: through the gateways, out of a network
// that has a way out.
func (n *Network) defaultRoutes() []*netlink.Route {
	if n.Internal {
		return nil
	}
	routes := []*netlink.Route{{Gw: n.Gateway.AsSlice()}}
	if n.Subnet6.IsValid() {
		routes = append(routes, &netlink.Route{Gw: n.Gateway6.AsSlice()})
	}
	return routes
}

// configure gives the container's link its addresses and its default routes,
// and returns its index.
func (ep *Endpoint) configure(ctx context.Context, inside *netlink.Handle, routes []*netlink.Route) (index int, err error) {
	link, err := inside.LinkByName(ep.Interface)
	if err != nil {
		return 0, fmt.Errorf("look for link %s in the container: %w", ep.Interface, err)
	}
	for _, a := range []netip.Prefix{ep.Address, ep.Address6} {
		if !a.IsValid() {
			continue
		}
		chapter.Call(ctx, "the container's address", "sendto(NETLINK_ROUTE, RTM_NEWADDR ifname=%q local=%q)", ep.Interface, a)
		if err := inside.AddrAdd(link, addrOf(a)); err != nil {
			return 0, fmt.Errorf("give %s to %s in the container: %w", a, ep.Interface, err)
		}
	}
	chapter.Call(ctx, "the container's end is switched on", "sendto(NETLINK_ROUTE, RTM_NEWLINK ifname=%q flags=IFF_UP)", ep.Interface)
	if err := inside.LinkSetUp(link); err != nil {
		return 0, fmt.Errorf("set %s up in the container: %w", ep.Interface, err)
	}
	for _, r := range routes {
		r.LinkIndex, r.Priority = link.Attrs().Index, ep.metric()
		chapter.Call(ctx, "everybody who is not on this wire is reached by the gateway",
			"sendto(NETLINK_ROUTE, RTM_NEWROUTE dst=default gateway=%q oif=%q metric=%d)", r.Gw, ep.Interface, r.Priority)
		if err := inside.RouteAdd(r); err != nil {
			return 0, fmt.Errorf("default route by %s, gateway %s, in the container: %w", ep.Interface, r.Gw, err)
		}
	}
	return link.Attrs().Index, nil
}

// bridgedPacketsAreFiltered reports whether the br_netfilter module shows this
// host's bridged packets to the IP rules, as if they were routed.
func bridgedPacketsAreFiltered() bool {
	b, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
	return err == nil && !bytes.Equal(bytes.TrimSpace(b), []byte("0"))
}

// Disconnect undoes [Network.Connect]: what the rules know of ep goes, its
// published ports too, and the pair. What is gone already is no error, so that it
// also clears up after a container or an engine that died. The container may
// be running, and its other networks stay.
func (n *Network) Disconnect(ctx context.Context, ep *Endpoint) error {
	if err := n.check(); err != nil {
		return err
	}
	// Side by side, because each of the two ends with a wait of some ten
	// milliseconds until no CPU reads the old state any more (an RCU grace period).
	forgotten := make(chan error)
	go func() { forgotten <- n.forget(ctx, ep) }()
	var err error
	if ep.Address.IsValid() {
		name := hostInterface(ep.Address.Addr())
		chapter.Call(ctx, "both ends go at once", "sendto(NETLINK_ROUTE, RTM_DELLINK ifname=%q)", name)
		err = deleteLink(name, "veth")
	}
	return errors.Join(<-forgotten, err)
}
