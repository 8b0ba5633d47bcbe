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
	"strings"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Endpoint is a container's end of the cable, and what is published of it.
type Endpoint struct {
	Interface     string           // in the container; "" becomes eth0
	Address       netip.Prefix     // the container's address with the subnet's length
	MAC           net.HardwareAddr // nil: derived from Address
	HostInterface string           // the end in the bridge: Connect sets it, from Address
	Ports         []Port           // each with its HostPort: see Reserve
}

// prepare fills in what Connect derives, and refuses what cannot work.
func (n *Network) prepare(ep *Endpoint) error {
	address := ep.Address.Addr()
	if !n.Subnet.Contains(address) || address == n.Gateway || ep.Address.Bits() != n.Subnet.Bits() {
		return invalid("network %s: %s is no address for a container in %s", n.Name, ep.Address, n.Subnet)
	}
	if ep.Interface == "" {
		ep.Interface = "eth0"
	}
	if len(ep.Interface) >= unix.IFNAMSIZ {
		return invalid("network %s: link name %q has more than 15 bytes", n.Name, ep.Interface)
	}
	if ep.MAC == nil {
		ep.MAC = macOf(address)
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
// end in the bridge, the other in ns with ep's address and a default route
// through the gateway; then it publishes ep.Ports. It fills in ep's empty
// fields. On error nothing of it stays.
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
	bridge, err := host.LinkByName(n.Bridge)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("network %s: the bridge %s is missing", n.Name, n.Bridge))
	}
	if err != nil {
		return fmt.Errorf("look for bridge %s: %w", n.Bridge, err)
	}
	port, err := n.plug(ctx, host, bridge.Attrs().Index, ns, ep)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, deleteLink(ep.HostInterface, "veth"))
		}
	}()
	if err := n.configure(ctx, ns, ep); err != nil {
		return err
	}
	// The bridge too: it has no carrier until it has a port that has one.
	for _, index := range []int{port, bridge.Attrs().Index} {
		if err := awaitUp(ctx, host, netns.None(), index); err != nil {
			return err
		}
	}
	return n.Publish(ctx, ep)
}

// plug makes the veth pair, one end in the bridge and up, the other in ns, and
// returns the index of the bridge's end. On error there is no pair.
func (n *Network) plug(ctx context.Context, host *netlink.Handle, bridge int, ns *os.File, ep *Endpoint) (index int, err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex = ep.HostInterface, n.mtu(), bridge
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerHardwareAddr = ep.Interface, ep.MAC
	// Born in its place: the host's namespace never has a link eth0 more, not
	// even for a moment, and nothing needs to be moved or renamed.
	veth.PeerNamespace = netlink.NsFd(ns.Fd())
	chapter.Call(ctx, "a cable: one end in the bridge, the other in the container",
		"sendto(NETLINK_ROUTE, RTM_NEWLINK ifname=%q kind=\"veth\" mtu=%d master=%q peer={ifname=%q address=%q netns_fd=%d})",
		ep.HostInterface, n.mtu(), n.Bridge, ep.Interface, ep.MAC, ns.Fd())
	if err := host.LinkAdd(veth); err != nil {
		if errors.Is(err, unix.EEXIST) {
			return 0, errdefs.ErrAlreadyExists.WithMessage(fmt.Sprintf(
				"network %s: %s is in use (the host has a link %s), or the container has a link %s already", n.Name, ep.Address.Addr(), ep.HostInterface, ep.Interface))
		}
		return 0, fmt.Errorf("make veth pair %s, %s: %w", ep.HostInterface, ep.Interface, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, deleteLink(ep.HostInterface, "veth"))
		}
	}()
	if bridgedPacketsAreFiltered() {
		chapter.Call(ctx, "br_netfilter is on: a packet to one's own published port leaves by the port it came in",
			"sendto(NETLINK_ROUTE, RTM_SETLINK ifname=%q IFLA_BRPORT_MODE=1)", ep.HostInterface)
		if err := host.LinkSetHairpin(veth, true); err != nil {
			return 0, fmt.Errorf("set hairpin mode of %s: %w", ep.HostInterface, err)
		}
	}
	chapter.Call(ctx, "the bridge's end is switched on", "sendto(NETLINK_ROUTE, RTM_NEWLINK ifname=%q flags=IFF_UP)", ep.HostInterface)
	if err := host.LinkSetUp(veth); err != nil {
		return 0, fmt.Errorf("set %s up: %w", ep.HostInterface, err)
	}
	return veth.Attrs().Index, nil
}

// configure gives the container's end its address and its default route.
func (n *Network) configure(ctx context.Context, ns *os.File, ep *Endpoint) error {
	// A netlink socket stays in the namespace in which it was opened: this one
	// is opened in the container's, and the thread comes back at once.
	inside, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink in the container's namespace: %w", err)
	}
	defer inside.Close()
	link, err := inside.LinkByName(ep.Interface)
	if err != nil {
		return fmt.Errorf("look for link %s in the container: %w", ep.Interface, err)
	}
	chapter.Call(ctx, "the container's address", "sendto(NETLINK_ROUTE, RTM_NEWADDR ifname=%q local=%q)", ep.Interface, ep.Address)
	if err := inside.AddrAdd(link, &netlink.Addr{IPNet: ipNet(ep.Address)}); err != nil {
		return fmt.Errorf("give %s to %s in the container: %w", ep.Address, ep.Interface, err)
	}
	chapter.Call(ctx, "the container's end is switched on", "sendto(NETLINK_ROUTE, RTM_NEWLINK ifname=%q flags=IFF_UP)", ep.Interface)
	if err := inside.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up in the container: %w", ep.Interface, err)
	}
	chapter.Call(ctx, "everything that is not on this switch goes to the gateway",
		"sendto(NETLINK_ROUTE, RTM_NEWROUTE dst=default gateway=%q oif=%q)", n.Gateway, ep.Interface)
	if err := inside.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: n.Gateway.AsSlice()}); err != nil {
		return fmt.Errorf("route default via %s in the container: %w", n.Gateway, err)
	}
	return awaitUp(ctx, inside, netns.NsHandle(ns.Fd()), link.Attrs().Index)
}

// bridgedPacketsAreFiltered reports whether the br_netfilter module shows this
// host's bridged packets to the IP rules, as if they were routed.
func bridgedPacketsAreFiltered() bool {
	b, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
	return err == nil && !bytes.Equal(bytes.TrimSpace(b), []byte("0"))
}

// Disconnect undoes [Network.Connect]: the ports that lead to ep's address are
// published no more, the pair goes. What is gone already is no error, so that it
// also clears up after a container or an engine that died.
func (n *Network) Disconnect(ctx context.Context, ep *Endpoint) error {
	if err := n.check(); err != nil {
		return err
	}
	// Side by side, because each of the two ends with a wait of some ten
	// milliseconds until no CPU reads the old state any more (an RCU grace period).
	unpublished := make(chan error)
	go func() { unpublished <- n.Unpublish(ctx, ep) }()
	name := hostInterface(ep.Address.Addr())
	chapter.Call(ctx, "both ends go at once", "sendto(NETLINK_ROUTE, RTM_DELLINK ifname=%q)", name)
	err := deleteLink(name, "veth")
	return errors.Join(<-unpublished, err)
}

// Endpoints returns what the kernel has of this network: one Endpoint for each
// address that has a veth in the bridge (then with HostInterface) or a
// published port (then with Ports). Interface and MAC, which are in the
// container's namespace, stay empty. An engine that starts compares this with
// what it has written down.
func (n *Network) Endpoints(ctx context.Context) ([]Endpoint, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	found := make(map[netip.Addr]*Endpoint)
	var order []netip.Addr
	at := func(a netip.Addr) *Endpoint {
		if found[a] == nil {
			found[a] = &Endpoint{Address: netip.PrefixFrom(a, n.Subnet.Bits())}
			order = append(order, a)
		}
		return found[a]
	}

	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
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
	for _, l := range links {
		// One of this subnet that is in no bridge yet is ours too: its maker was killed
		// between the making of the pair and the plugging in.
		a, ours := addressOf(l.Attrs().Name)
		if ours && (bridge != 0 && l.Attrs().MasterIndex == bridge || l.Attrs().MasterIndex == 0 && n.Subnet.Contains(a)) {
			at(a).HostInterface = l.Attrs().Name
		}
	}

	published, err := n.published()
	if err != nil {
		return nil, err
	}
	for _, m := range published {
		ep := at(m.address)
		ep.Ports = append(ep.Ports, m.port)
	}
	endpoints := make([]Endpoint, 0, len(order))
	for _, a := range order {
		endpoints = append(endpoints, *found[a])
	}
	return endpoints, nil
}
