//go:build linux

package networking

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

func at(address, port string) string { return net.JoinHostPort(address, port) }

func TestPublishedPortAnswersFromEverywhereInIPv6(t *testing.T) {
	l := newLab(t)
	n := l.create(dualStack(testNetwork(0)))
	c, _ := l.container(n, 2, "18080:8080", "18053:53/udp")
	neighbour, _ := l.container(n, 3)
	l.serve(c, "tcp", "[::]:8080")
	l.serve(c, "udp", "[fd00:30:0::2]:53")
	l.serve(c, "udp", "172.30.0.2:53")
	for network, port := range map[string]string{"tcp": "18080", "udp": "18053"} {
		l.answers(l.outside, network, at(hostAddress6, port), outsideAddress6)
		l.answers(l.outside, network, at(hostAddress, port), outsideAddress)
		l.answers(nil, network, at(hostAddress6, port), hostAddress6)
		l.answers(neighbour, network, at(hostAddress6, port), "fd00:30::1")
		l.answers(c, network, at(hostAddress6, port), "fd00:30::1")
		l.answers(c, network, at("fd00:30::1", port), "fd00:30::1")
	}
}

func TestContainerReachesOutsideAsTheHostInIPv6(t *testing.T) {
	l := newLab(t)
	l.serve(l.outside, "tcp", at(outsideAddress6, "80"))
	l.serve(l.outside, "udp", at(outsideAddress6, "53"))
	c, _ := l.container(l.create(dualStack(testNetwork(0))), 2)
	l.answers(c, "tcp", at(outsideAddress6, "80"), hostAddress6)
	l.answers(c, "udp", at(outsideAddress6, "53"), hostAddress6)
}

func TestNetworksAreIsolatedInIPv6(t *testing.T) {
	l := newLab(t)
	n0, n1 := l.create(dualStack(testNetwork(0))), l.create(dualStack(testNetwork(1)))
	a, _ := l.container(n0, 2)
	b, _ := l.container(n1, 2, "18080:80")
	neighbour, _ := l.container(n1, 3)
	l.serve(b, "tcp", "[::]:80")
	l.answers(neighbour, "tcp", "[fd00:30:1::2]:80", "fd00:30:1::3")
	l.silent(a, "tcp", "[fd00:30:1::2]:80", "another network's container")
	l.answers(a, "tcp", at(hostAddress6, "18080"), "")
	l.at(l.outside, func() {
		must(t, netlink.RouteAdd(&netlink.Route{
			LinkIndex: linkByName(t, "eth0").Attrs().Index,
			Dst:       ipNet(n1.Subnet6), Gw: netip.MustParseAddr(hostAddress6).AsSlice(),
		}))
	})
	l.silent(l.outside, "tcp", "[fd00:30:1::2]:80", "not the way it is published")
}

// A network without IPv6 has none at all.
func TestNetworkWithoutIPv6(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	a, _ := l.container(n, 2)
	b, ep := l.container(n, 3)
	l.serve(b, "udp", "[::]:53")
	to := linkLocal(ep.MAC).String() + "%eth0"
	l.silent(a, "udp", at(to, "53"), "the guard lets no IPv6 through")
	if got := sysctl(t, "ipv6/conf/dd0/disable_ipv6"); got != "1" {
		t.Errorf("disable_ipv6 of the bridge is %s", got)
	}
}

func TestCreateMakesTheGatewayInIPv6(t *testing.T) {
	l := newLab(t)
	n := l.create(dualStack(testNetwork(0)))
	l.container(n, 2) // the kernel gives a link its link-local address when it has a carrier
	addresses, err := netlink.AddrList(linkByName(t, "dd0"), netlink.FAMILY_V6)
	must(t, err)
	var all []string
	for _, a := range addresses {
		all = append(all, a.IPNet.String())
		if a.Flags&unix.IFA_F_TENTATIVE != 0 {
			t.Errorf("%s is tentative: for a second it cannot be used", a.IPNet)
		}
	}
	if s := strings.Join(all, " "); !strings.Contains(s, "fd00:30::1/64") || !strings.Contains(s, "fe80::") {
		t.Errorf("dd0 has %s", s)
	}
	for name, want := range map[string]string{"ipv6/conf/all/forwarding": "1", "ipv6/conf/dd0/accept_ra": "0", "ipv6/conf/dd0/disable_ipv6": "0"} {
		if got := sysctl(t, name); got != want {
			t.Errorf("net/%s is %s, want %s", name, got, want)
		}
	}
	must(t, n.Create(background))
}

// A host that became a router would lose the default route that it has by
// router advertisement, and with it the world.
func TestHostKeepsItsRouterAdvertisements(t *testing.T) {
	l := newLab(t)
	const accept = "/proc/sys/net/ipv6/conf/uplink/accept_ra"
	set(t, "/proc/sys/net/ipv6/conf/all/forwarding", "0")
	n := dualStack(testNetwork(0))
	must(t, n.Create(background))
	must(t, n.Delete(background))
	if got := sysctl(t, "ipv6/conf/uplink/accept_ra"); got != "1" {
		t.Errorf("accept_ra of a link without advertisements is %s: it was 1", got)
	}
	must(t, netlink.RouteAdd(&netlink.Route{
		LinkIndex: linkByName(t, "uplink").Attrs().Index, Protocol: unix.RTPROT_RA,
		Dst: ipNet(netip.MustParsePrefix("::/0")), Gw: net.ParseIP(outsideAddress6),
	}))
	l.create(n)
	now, err := os.ReadFile(accept)
	must(t, err)
	if strings.TrimSpace(string(now)) != "2" {
		t.Errorf("accept_ra of the link with the advertised route is %s", now)
	}
}

func TestRoutedNetworkIsNotTranslated(t *testing.T) {
	l := newLab(t)
	n := dualStack(testNetwork(0))
	n.Routed, n.Routed6 = true, true
	l.create(n)
	l.at(l.outside, func() {
		for subnet, gateway := range map[netip.Prefix]string{n.Subnet: hostAddress, n.Subnet6: hostAddress6} {
			must(t, netlink.RouteAdd(&netlink.Route{
				LinkIndex: linkByName(t, "eth0").Attrs().Index,
				Dst:       ipNet(subnet), Gw: netip.MustParseAddr(gateway).AsSlice(),
			}))
		}
	})
	c, ep := l.container(n, 2, "18080:8080")
	l.serve(c, "tcp", "[::]:8080")
	l.serve(c, "tcp", "[::]:9090")
	l.serve(l.outside, "tcp", "[::]:80")
	l.answers(c, "tcp", at(outsideAddress, "80"), "172.30.0.2")
	l.answers(c, "tcp", at(outsideAddress6, "80"), "fd00:30::2")
	for _, own := range []string{"172.30.0.2", "fd00:30::2"} {
		l.answers(l.outside, "tcp", at(own, "8080"), "")
		l.silent(l.outside, "tcp", at(own, "9090"), "it is not published")
	}
	must(t, n.Unpublish(background, ep))
	l.silent(l.outside, "tcp", "172.30.0.2:8080", "it is published no more")
}

func TestInternalNetworkHasNoWayOut(t *testing.T) {
	l := newLab(t)
	other := l.create(dualStack(testNetwork(1)))
	published, _ := l.container(other, 2, "18080:80")
	l.serve(published, "tcp", "[::]:80")
	l.serve(l.outside, "tcp", "[::]:80")
	l.serve(nil, "tcp", "[::]:9090")
	n := dualStack(testNetwork(0))
	n.Internal = true
	l.create(n)
	a, _ := l.container(n, 2)
	b, _ := l.container(n, 3)
	l.serve(b, "tcp", "[::]:80")
	l.at(a, func() {
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			routes, err := netlink.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_DST)
			must(t, err)
			if len(routes) != 0 {
				t.Errorf("an internal network has the default route %v", routes)
			}
		}
		// Root in there can make itself one.
		for _, gateway := range []netip.Addr{n.Gateway, n.Gateway6} {
			must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: linkByName(t, "eth0").Attrs().Index, Gw: gateway.AsSlice()}))
		}
	})
	l.answers(a, "tcp", "172.30.0.3:80", "172.30.0.2")
	l.answers(a, "tcp", "[fd00:30::3]:80", "fd00:30::2")
	l.answers(nil, "tcp", "172.30.0.3:80", "172.30.0.1")
	l.answers(nil, "tcp", "[fd00:30::3]:80", "fd00:30::1")
	for _, address := range []string{
		at(outsideAddress, "80"), at(outsideAddress6, "80"), // the world
		"172.30.0.1:9090", "[fd00:30::1]:9090", at(hostAddress, "9090"), // the host
		at(hostAddress, "18080"), "172.30.1.2:80", // another network, by the host
	} {
		l.silent(a, "tcp", address, "the network is internal")
	}
	_, err := n.Endpoints(background)
	must(t, err)
	err = n.Connect(background, newNamespace(t), endpoint(t, n, 4, "18081:80"))
	if want := "network net0: it is internal, and a port of it cannot be published"; err == nil || err.Error() != want {
		t.Errorf("Connect: %v, want %s", err, want)
	}
}

// ::1 is the one address that is not translated: Relay copies.
func TestRelayServesLocalhostInIPv6(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	// TCP twice: the first one's last connections linger when the second begins.
	for _, protocol := range []string{"tcp", "tcp", "udp"} {
		r, err := Reserve(Port{HostPort: 18080, ContainerPort: 80, Protocol: protocol})
		must(t, err)
		ns, ep := newNamespace(t), endpoint(t, n, 2)
		ep.Ports = []Port{r.Port}
		must(t, n.Connect(background, ns, ep))
		l.serve(ns, protocol, "172.30.0.2:80")
		must(t, r.Relay(background, ep.Address.Addr()))
		l.answers(nil, protocol, "[::1]:18080", "172.30.0.1")
		l.answers(nil, protocol, "[::1]:18080", "172.30.0.1") // a second client
		// A container with IPv4 alone is reached by IPv6 too.
		l.answers(l.outside, protocol, at(hostAddress6, "18080"), "172.30.0.1")
		// What can be translated is.
		l.answers(l.outside, protocol, at(hostAddress, "18080"), outsideAddress)
		must(t, r.Close())
		if err := listen(protocol, ":18080"); err != nil {
			t.Errorf("after Close: %v", err)
		}
		must(t, n.Disconnect(background, ep))
	}
}

// The end of one direction is not the end of the other.
func TestRelayPassesOnTheEndOfEachDirection(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	server, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer server.Close()
	r, err := Reserve(Port{ContainerPort: uint16(server.Addr().(*net.TCPAddr).Port), Protocol: "tcp", HostIP: netip.IPv6Loopback()})
	must(t, err)
	defer r.Close()
	must(t, r.Relay(background, netip.MustParseAddr("127.0.0.1")))
	client, err := net.Dial("tcp", at("::1", itoa(r.Port.HostPort)))
	must(t, err)
	defer client.Close()
	accepted, err := server.Accept()
	must(t, err)
	defer accepted.Close()
	_, err = client.Write([]byte("question"))
	must(t, err)
	must(t, client.(*net.TCPConn).CloseWrite())
	if got := readAll(t, accepted); got != "question" {
		t.Errorf("the server reads %q", got)
	}
	_, err = accepted.Write([]byte("answer"))
	must(t, err)
	accepted.Close()
	if got := readAll(t, client); got != "answer" {
		t.Errorf("the client reads %q after it has said its last word", got)
	}
	// Nobody in the container listens.
	server.Close()
	refused, err := net.Dial("tcp", at("::1", itoa(r.Port.HostPort)))
	if err == nil {
		defer refused.Close()
		_, err = refused.Read(make([]byte, 1))
	}
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("%v, want connection reset", err)
	}
}
