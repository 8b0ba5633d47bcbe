//go:build linux

package networking

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"drydock.example/01-chroot/explain"
	"drydock.example/01-chroot/hosttest"
	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

func TestConnectConfiguresTheContainersEnd(t *testing.T) {
	l := newLab(t)
	n := testNetwork(0)
	n.MTU = 1400
	must(t, n.Create(background))
	t.Cleanup(func() { must(t, n.Delete(background)) })
	c, ep := l.container(n, 2)
	l.at(c, func() {
		link := linkByName(t, "eth0")
		if a := link.Attrs(); a.MTU != 1400 || a.HardwareAddr.String() != "02:dd:ac:1e:00:02" || a.Flags&net.FlagUp == 0 {
			t.Errorf("eth0 has MTU %d, address %s, flags %s", a.MTU, a.HardwareAddr, a.Flags)
		}
		addresses, err := netlink.AddrList(link, netlink.FAMILY_V4)
		must(t, err)
		if len(addresses) != 1 || addresses[0].IPNet.String() != "172.30.0.2/24" {
			t.Errorf("eth0 has the addresses %v", addresses)
		}
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{}, netlink.RT_FILTER_DST)
		must(t, err)
		if len(routes) != 1 || !routes[0].Gw.Equal(net.IP{172, 30, 0, 1}) {
			t.Errorf("the default route is %v", routes)
		}
	})
	host := linkByName(t, ep.HostInterface).Attrs()
	if host.MasterIndex != linkByName(t, "dd0").Attrs().Index || host.MTU != 1400 {
		t.Errorf("%s has MTU %d and is not in dd0", ep.HostInterface, host.MTU)
	}
}

func TestConnectKeepsWhatItIsTold(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	ns, ep := newNamespace(t), endpoint(t, n, 2)
	ep.Interface, ep.MAC = "lan7", net.HardwareAddr{2, 0, 0, 0, 0, 7}
	must(t, n.Connect(background, ns, ep))
	defer n.Disconnect(background, ep)
	l.at(ns, func() {
		if mac := linkByName(t, "lan7").Attrs().HardwareAddr.String(); mac != "02:00:00:00:00:07" {
			t.Errorf("lan7 has the address %s", mac)
		}
	})
}

func TestAddressIsPluggedInOnce(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	first, _ := l.container(n, 2)
	l.serve(first, "tcp", ":80")
	err := n.Connect(background, newNamespace(t), endpoint(t, n, 2))
	want := "network net0: 172.30.0.2 is in use (the host has a link veth-ac1e0002), or the container has a link eth0 already"
	if err == nil || err.Error() != want || !errdefs.IsAlreadyExists(err) {
		t.Errorf("Connect: %v, want %s", err, want)
	}
	l.answers(nil, "tcp", "172.30.0.2:80", "172.30.0.1")
}

func TestConnectRefuses(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	ns := newNamespace(t)
	for _, test := range []struct {
		address, want string
	}{
		{"172.30.1.2/24", "network net0: 172.30.1.2/24 is no address for a container in 172.30.0.0/24"},
		{"172.30.0.1/24", "network net0: 172.30.0.1/24 is no address for a container in 172.30.0.0/24"},
		{"172.30.0.2/16", "network net0: 172.30.0.2/16 is no address for a container in 172.30.0.0/24"},
	} {
		err := n.Connect(background, ns, &Endpoint{Address: netip.MustParsePrefix(test.address)})
		if err == nil || err.Error() != test.want || !errdefs.IsInvalidArgument(err) {
			t.Errorf("Connect: %v, want %s", err, test.want)
		}
	}
	missing := testNetwork(7)
	err := missing.Connect(background, ns, endpoint(t, missing, 2))
	if want := "network net7: the bridge dd7 is missing"; err == nil || err.Error() != want || !errdefs.IsNotFound(err) {
		t.Errorf("Connect: %v, want %s", err, want)
	}
}

// The interface is one that the kernel refuses after the pair is made.
func TestConnectLeavesNothingOnError(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	ns := newNamespace(t)
	l.at(ns, func() {
		// Somebody else's default route is in the way.
		must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: 1, Scope: netlink.SCOPE_LINK, Dst: ipNet(netip.MustParsePrefix("0.0.0.0/0")), Priority: defaultMetric}))
	})
	if err := n.Connect(background, ns, endpoint(t, n, 2, "18080:80")); err == nil {
		t.Fatal("Connect succeeds with a default route in the way")
	}
	if hasLink(t, "veth-ac1e0002") {
		t.Error("the pair stays")
	}
	if got, err := n.Endpoints(background); err != nil || len(got) != 0 {
		t.Errorf("Endpoints: %v, %v", got, err)
	}
}

func TestDisconnectLeavesNothing(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	ns, ep := newNamespace(t), endpoint(t, n, 2, "18080:80", "127.0.0.1:18053:53/udp")
	must(t, n.Connect(background, ns, ep))
	must(t, n.Disconnect(background, ep))
	l.at(ns, func() {
		if hasLink(t, "eth0") {
			t.Error("the container's end stays")
		}
	})
	if got, err := n.Endpoints(background); err != nil || len(got) != 0 {
		t.Errorf("Endpoints: %v, %v", got, err)
	}
	must(t, n.Disconnect(background, ep))
	must(t, n.Connect(background, ns, ep))
	must(t, n.Disconnect(background, ep))
}

func TestPairGoesWithTheNamespace(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	ns, err := NewNamespace(background)
	must(t, err)
	ep := endpoint(t, n, 2, "18080:80")
	must(t, n.Connect(background, ns, ep))

	gone := make(chan netlink.LinkUpdate)
	done := make(chan struct{})
	defer close(done)
	must(t, netlink.LinkSubscribe(gone, done))
	ns.Close()
	limit := time.After(10 * time.Second)
	for deleted := false; !deleted; {
		select {
		case u := <-gone:
			deleted = u.Attrs().Name == ep.HostInterface && u.Header.Type == 17 // RTM_DELLINK
		case <-limit:
			t.Fatal("the pair stays")
		}
	}
	// The published port is what the start-up comparison finds.
	got, err := n.Endpoints(background)
	must(t, err)
	if len(got) != 1 || got[0].HostInterface != "" || !slices.Equal(got[0].Ports, []Port{{HostIP: netip.IPv4Unspecified(), HostPort: 18080, ContainerPort: 80, Protocol: "tcp"}}) {
		t.Errorf("Endpoints: %+v, want only the port %v", got, ep.Ports)
	}
	must(t, n.Disconnect(background, &got[0]))
}

func TestEndpointsAreTheNetworksOwn(t *testing.T) {
	l := newLab(t)
	n0, n1 := l.network(0), l.network(1)
	l.container(n0, 2, "18080:80")
	_, ep := l.container(n1, 9, hostAddress+":18081:80/udp", "18081:80")
	got, err := n1.Endpoints(background)
	must(t, err)
	if len(got) != 1 || got[0].Address != ep.Address || got[0].HostInterface != "veth-ac1e0109" || len(got[0].Ports) != 2 {
		t.Errorf("Endpoints: %+v", got)
	}
}

func TestAwaitUpWaitsForTheEvent(t *testing.T) {
	hosttest.Require(t, hosttest.Bridge)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Flags = "near", net.FlagUp
	pair := netlink.NewVeth(attrs)
	pair.PeerName = "far"
	must(t, netlink.LinkAdd(pair))
	defer netlink.LinkDel(pair)
	h := handle(t)

	canceled, cancel := context.WithCancel(background)
	cancel()
	if err := awaitUp(canceled, h, netns.None(), pair.Index); err == nil {
		t.Error("a link whose other end is down counts as up")
	}
	waited := make(chan error)
	go func() { waited <- awaitUp(background, h, netns.None(), pair.Index) }()
	must(t, netlink.LinkSetUp(linkByName(t, "far")))
	must(t, <-waited)
}

func BenchmarkNewNamespace(b *testing.B) {
	hosttest.Require(b, hosttest.Root)
	for b.Loop() {
		ns, err := NewNamespace(background)
		must(b, err)
		ns.Close()
	}
}

func TestExplainShowsTheCable(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	var told recorder
	ctx := explain.With(background, &told)
	ep := endpoint(t, n, 2)
	must(t, n.Connect(ctx, newNamespace(t), ep))
	must(t, n.Disconnect(ctx, ep))
	for _, want := range []string{
		`RTM_NEWLINK ifname="veth-ac1e0002" kind="veth"`,
		`RTM_NEWADDR ifname="eth0" local="172.30.0.2/24"`,
		`RTM_NEWROUTE dst=default gateway="172.30.0.1"`,
		`RTM_DELLINK ifname="veth-ac1e0002"`,
	} {
		if !told.has(want) {
			t.Errorf("--explain does not tell %s", want)
		}
	}
}

// A lost packet, or a lost ARP request, is repeated after a second.
func TestFirstPacketArrives(t *testing.T) {
	l := newLab(t)
	for range 5 {
		n := dualStack(testNetwork(0))
		must(t, n.Create(background))
		ns, ep := newNamespace(t), endpoint(t, n, 2, "18080:80")
		l.serve(ns, "tcp", "[::]:80")
		must(t, n.Connect(background, ns, ep))
		for _, host := range []string{hostAddress6, "127.0.0.1"} {
			if _, err := l.ask(nil, "tcp", at(host, "18080"), 900*time.Millisecond); err != nil {
				t.Error(err)
			}
		}
		must(t, n.Disconnect(background, ep))
		must(t, n.Delete(background))
	}
}
