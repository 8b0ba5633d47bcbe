//go:build linux

package networking

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/explain"
)

// direct is a network on the lab's uplink, in the subnet that the host and the
// other host have there.
func direct(kind, mode string) *Direct {
	return &Direct{
		Name: "lan", Kind: kind, Mode: mode, Parent: "uplink",
		Subnet: netip.MustParsePrefix("192.0.2.0/24"), Gateway: netip.MustParseAddr(outsideAddress),
	}
}

// onWire makes d, with its sub-interface where the kernel can make one.
func (l *lab) onWire(d *Direct) {
	l.t.Helper()
	err := d.Create(background)
	if errdefs.IsNotImplemented(err) {
		l.t.Skipf("requires VLANs: %v", err)
	}
	must(l.t, err)
}

// onto plugs a namespace into d.
func (l *lab) onto(d *Direct, address string) (*os.File, *Endpoint) {
	l.t.Helper()
	ns, ep := newNamespace(l.t), &Endpoint{Address: netip.MustParsePrefix(address)}
	err := d.Connect(background, ns, ep)
	if errdefs.IsNotImplemented(err) {
		l.t.Skipf("requires %s: %v", d.Kind, err)
	}
	must(l.t, err)
	return ns, ep
}

func TestMacvlanIsOnTheHostsWire(t *testing.T) {
	l := newLab(t)
	d := direct("macvlan", "")
	must(t, d.Create(background))
	a, ep := l.onto(d, "192.0.2.10/24")
	b, _ := l.onto(d, "192.0.2.11/24")
	l.serve(l.outside, "tcp", ":80")
	l.serve(a, "tcp", ":80")
	l.serve(nil, "tcp", ":80")
	l.answers(a, "tcp", outsideAddress+":80", "192.0.2.10")
	l.answers(l.outside, "tcp", "192.0.2.10:80", outsideAddress)
	l.answers(b, "tcp", "192.0.2.10:80", "192.0.2.11")
	l.silent(a, "tcp", hostAddress+":80", "the host is not on the wire that it sends to")
	l.silent(nil, "tcp", "192.0.2.10:80", "the host does not reach its own wire")
	if ep.Interface != "eth0" || ep.MAC.String() != "02:dd:c0:00:02:0a" {
		t.Errorf("the endpoint is %+v", ep)
	}
	l.at(a, func() {
		routes, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{}, netlink.RT_FILTER_DST)
		must(t, err)
		if len(routes) != 1 || routes[0].Gw.String() != outsideAddress {
			t.Errorf("default routes: %v", routes)
		}
	})
	must(t, d.Disconnect(background, a, ep))
	must(t, d.Disconnect(background, a, ep))
	l.silent(l.outside, "tcp", "192.0.2.10:80", "it is disconnected")
	must(t, d.Delete(background))
	if !hasLink(t, "uplink") {
		t.Error("Delete takes the host's own link away")
	}
}

func TestMacvlanPrivateNeighboursDoNotMeet(t *testing.T) {
	l := newLab(t)
	d := direct("macvlan", "private")
	a, _ := l.onto(d, "192.0.2.10/24")
	b, _ := l.onto(d, "192.0.2.11/24")
	l.serve(a, "tcp", ":80")
	l.answers(l.outside, "tcp", "192.0.2.10:80", outsideAddress)
	l.silent(b, "tcp", "192.0.2.10:80", "mode private keeps them apart")
}

func TestMacvlanPassthruHasOneContainer(t *testing.T) {
	l := newLab(t)
	d := direct("macvlan", "passthru")
	l.onto(d, "192.0.2.10/24")
	err := d.Connect(background, newNamespace(t), &Endpoint{Address: netip.MustParsePrefix("192.0.2.11/24")})
	if !errdefs.IsFailedPrecondition(err) {
		t.Errorf("a second container in mode passthru: %v", err)
	}
}

func TestMacvlanAddressIsPluggedInOnce(t *testing.T) {
	l := newLab(t)
	d := direct("macvlan", "bridge")
	l.onto(d, "192.0.2.10/24")
	ns := newNamespace(t)
	err := d.Connect(background, ns, &Endpoint{Address: netip.MustParsePrefix("192.0.2.10/24")})
	want := "network lan: 02:dd:c0:00:02:0a of 192.0.2.10 is in use on uplink"
	if err == nil || err.Error() != want || !errdefs.IsAlreadyExists(err) {
		t.Errorf("Connect: %v, want %s", err, want)
	}
	l.at(ns, func() {
		if hasLink(t, "eth0") {
			t.Error("the link stays after an error")
		}
	})
}

// VLAN 10 and no VLAN are two wires, and the sub-interface is Create's.
func TestMacvlanOnAVLAN(t *testing.T) {
	l := newLab(t)
	d := &Direct{
		Name: "voice", Kind: "macvlan", Parent: "uplink.10",
		Subnet: netip.MustParsePrefix("198.51.100.0/24"), Gateway: netip.MustParseAddr("198.51.100.2"),
	}
	l.onWire(d)
	l.onWire(d)
	vlan, ok := linkByName(t, "uplink.10").(*netlink.Vlan)
	if !ok || vlan.VlanId != 10 {
		t.Fatalf("uplink.10 is %+v", vlan)
	}
	l.at(l.outside, func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex = "eth0.10", linkByName(t, "eth0").Attrs().Index
		must(t, netlink.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: 10}))
		addAddress(t, "eth0.10", "198.51.100.2/24")
		must(t, netlink.LinkSetUp(linkByName(t, "eth0.10")))
	})
	l.serve(l.outside, "tcp", "198.51.100.2:80")
	tagged, _ := l.onto(d, "198.51.100.10/24")
	l.answers(tagged, "tcp", "198.51.100.2:80", "198.51.100.10")

	plain := *d
	plain.Parent = "uplink"
	untagged, _ := l.onto(&plain, "198.51.100.11/24")
	l.silent(untagged, "tcp", "198.51.100.2:80", "it is not in the VLAN")

	must(t, d.Delete(background))
	if hasLink(t, "uplink.10") {
		t.Error("the sub-interface stays")
	}
	must(t, d.Delete(background))
}

// A VLAN that the host had before is the host's.
func TestMacvlanLeavesTheHostsVLAN(t *testing.T) {
	newLab(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = "uplink.20", linkByName(t, "uplink").Attrs().Index
	if err := netlink.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: 20}); errors.Is(err, unix.EOPNOTSUPP) {
		t.Skipf("requires VLANs: %v", err)
	} else {
		must(t, err)
	}
	defer func() { must(t, deleteLink("uplink.20", "vlan")) }()
	d := direct("macvlan", "")
	d.Parent = "uplink.20"
	must(t, d.Create(background))
	must(t, d.Delete(background))
	if !hasLink(t, "uplink.20") {
		t.Error("Delete takes the host's own sub-interface away")
	}
}

func TestIpvlan(t *testing.T) {
	l := newLab(t)
	for mode, way := range map[string]string{"l2": outsideAddress, "l3": "<nil>"} {
		t.Run(mode, func(t *testing.T) {
			d := direct("ipvlan", mode)
			must(t, d.Create(background))
			sub := &lab{t: t, outside: l.outside}
			a, ep := sub.onto(d, "192.0.2.10/24")
			b, _ := sub.onto(d, "192.0.2.11/24")
			sub.serve(a, "tcp", ":80")
			sub.answers(b, "tcp", "192.0.2.10:80", "192.0.2.11")
			if mode == "l2" {
				sub.answers(l.outside, "tcp", "192.0.2.10:80", outsideAddress)
			}
			sub.at(a, func() {
				mac := linkByName(t, ep.Interface).Attrs().HardwareAddr.String()
				if parent := linkByName(t, "eth0").Attrs().HardwareAddr.String(); mac != parent {
					t.Errorf("the container has the Ethernet address %s", mac)
				}
				routes, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{}, netlink.RT_FILTER_DST)
				must(t, err)
				if len(routes) != 1 || routes[0].Gw.String() != way {
					t.Errorf("default routes: %v, want one via %s", routes, way)
				}
			})
			must(t, d.Disconnect(background, a, ep))
		})
	}
}

func TestDirectRefuses(t *testing.T) {
	newLab(t)
	ns := newNamespace(t)
	ep := func(address string) *Endpoint { return &Endpoint{Address: netip.MustParsePrefix(address)} }
	with := func(change func(d *Direct)) *Direct {
		d := direct("macvlan", "")
		change(d)
		return d
	}
	published := ep("192.0.2.10/24")
	published.Ports = []Port{{HostPort: 80, ContainerPort: 80, Protocol: "tcp"}}
	own := ep("192.0.2.10/24")
	own.MAC = macOf(own.Address.Addr())
	for want, test := range map[string]struct {
		d  *Direct
		ep *Endpoint
		is func(error) bool
	}{
		`network lan: "vxlan" is neither macvlan nor ipvlan`:                                                              {with(func(d *Direct) { d.Kind = "vxlan" }), ep("192.0.2.10/24"), errdefs.IsInvalidArgument},
		`network lan: macvlan has no mode "l2" (bridge, private, vepa, passthru)`:                                         {with(func(d *Direct) { d.Mode = "l2" }), ep("192.0.2.10/24"), errdefs.IsInvalidArgument},
		`network lan: ipvlan has no mode "vepa" (l2, l3, l3s)`:                                                            {with(func(d *Direct) { d.Kind, d.Mode = "ipvlan", "vepa" }), ep("192.0.2.10/24"), errdefs.IsInvalidArgument},
		`network lan: "" is no name of a link (1 to 15 bytes)`:                                                            {with(func(d *Direct) { d.Parent = "" }), ep("192.0.2.10/24"), errdefs.IsInvalidArgument},
		`network lan: the host has no link eth7`:                                                                          {with(func(d *Direct) { d.Parent = "eth7" }), ep("192.0.2.10/24"), errdefs.IsNotFound},
		`network lan: the host has no link eth7.4095`:                                                                     {with(func(d *Direct) { d.Parent = "eth7.4095" }), ep("192.0.2.10/24"), errdefs.IsNotFound},
		`network lan: the host has neither a link eth7.10 nor eth7`:                                                       {with(func(d *Direct) { d.Parent = "eth7.10" }), ep("192.0.2.10/24"), errdefs.IsNotFound},
		`network lan: gateway 192.0.3.1 is not in 192.0.2.0/24`:                                                           {with(func(d *Direct) { d.Gateway = netip.MustParseAddr("192.0.3.1") }), ep("192.0.2.10/24"), errdefs.IsInvalidArgument},
		`network lan: 192.0.2.2/24 is no address for a container in 192.0.2.0/24`:                                         {direct("macvlan", ""), ep("192.0.2.2/24"), errdefs.IsInvalidArgument},
		`network lan: a port of a macvlan network is not published: its containers are reached under their own addresses`: {direct("macvlan", ""), published, errdefs.IsInvalidArgument},
		`network lan: ipvlan's containers have the Ethernet address of uplink, not 02:dd:c0:00:02:0a`:                     {direct("ipvlan", ""), own, errdefs.IsInvalidArgument},
	} {
		err := test.d.Create(background)
		if err == nil {
			err = test.d.Connect(background, ns, test.ep)
		}
		if err == nil || err.Error() != want || !test.is(err) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestExplainShowsTheMacvlan(t *testing.T) {
	newLab(t)
	var told recorder
	ctx := explain.With(background, &told)
	d, ns, ep := direct("macvlan", ""), newNamespace(t), &Endpoint{Address: netip.MustParsePrefix("192.0.2.10/24")}
	must(t, d.Connect(ctx, ns, ep))
	must(t, d.Disconnect(ctx, ns, ep))
	for _, want := range []string{
		`RTM_NEWLINK ifname="eth0" kind="macvlan" link="uplink"`,
		`RTM_NEWADDR ifname="eth0" local="192.0.2.10/24"`,
		`RTM_DELLINK ifname="eth0"`,
	} {
		if !told.has(want) {
			t.Errorf("--explain does not tell %s", want)
		}
	}
}
