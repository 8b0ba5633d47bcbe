//go:build linux

package networking

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/doctor"
	"drydock.example/01-chroot/hosttest"
)

// Each test here is an entry of docs/error-atlas.md: the failure, and its cure.

// fails checks that a call fails as the atlas says.
func fails(t *testing.T, what string, err error, want unix.Errno) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v: want %v", what, err, want)
	}
}

// set writes a kernel parameter of the tests' network namespace, and puts the
// old value back.
func set(t *testing.T, path, value string) {
	t.Helper()
	old, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte(value), 0))
	t.Cleanup(func() {
		if err := os.WriteFile(path, old, 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	})
}

// emptied removes the rules of one chain of a network, or of all networks.
func emptied(t testing.TB, n *Network, chain string) {
	t.Helper()
	for _, ch := range n.ruleset().chains {
		if ch.Name == chain || ch.Name == chain+"-"+n.Bridge {
			c := new(nftables.Conn)
			c.FlushChain(ch)
			must(t, c.Flush())
			return
		}
	}
	t.Fatalf("network %s has no chain %s", n.Name, chain)
}

func TestAtlasForwardingIsOff(t *testing.T) {
	l := newLab(t)
	c, _ := l.container(l.network(0), 2)
	l.serve(l.outside, "tcp", ":8080")
	set(t, forwardFile, "0")
	l.silent(c, "tcp", outsideAddress+":8080", "the host is no router")
	set(t, forwardFile, "1")
	l.answers(c, "tcp", outsideAddress+":8080", hostAddress)
}

func TestAtlasPortThatTheHostDoesNotReach(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	c, ep := l.container(n, 2, "18080:8080")
	l.serve(c, "tcp", ":8080")
	emptied(t, n, "output")
	l.answers(l.outside, "tcp", hostAddress+":18080", outsideAddress)
	l.silent(nil, "tcp", hostAddress+":18080", "the host's own packets do not pass prerouting")
	must(t, n.Create(background))
	must(t, n.Publish(background, ep))
	l.answers(nil, "tcp", hostAddress+":18080", "")
}

func TestAtlasPortThatLocalhostDoesNotReach(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	c, _ := l.container(n, 2, "18080:8080")
	l.serve(c, "tcp", ":8080")
	localnet := "/proc/sys/net/ipv4/conf/" + n.Bridge + "/route_localnet"
	set(t, localnet, "0")
	l.answers(nil, "tcp", hostAddress+":18080", "")
	l.silent(nil, "tcp", "127.0.0.1:18080", "127.0.0.0/8 does not leave lo")
	set(t, localnet, "1")
	l.answers(nil, "tcp", "127.0.0.1:18080", "")
}

func TestAtlasPortThatTheContainerItselfDoesNotReach(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	c, _ := l.container(n, 2, "18080:8080")
	l.serve(c, "tcp", ":8080")
	emptied(t, n, "postrouting")
	l.silent(c, "tcp", hostAddress+":18080", "it gets a packet from itself")
	must(t, n.Create(background))
	l.answers(c, "tcp", hostAddress+":18080", "")
}

func TestAtlasAnswersThatFindNoWayBack(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	c, _ := l.container(n, 2)
	l.serve(l.outside, "tcp", ":8080")
	emptied(t, n, "postrouting")
	l.silent(c, "tcp", outsideAddress+":8080", "nobody out there knows the way to 172.30.0.2")
	must(t, n.Create(background))
	l.answers(c, "tcp", outsideAddress+":8080", hostAddress)
}

func TestAtlasFirewallThatDropsWhatIsForwarded(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	c, _ := l.container(n, 2)
	l.serve(l.outside, "tcp", ":8080")
	foreign(t, nftables.TableFamilyIPv4, "filter", nftables.ChainPolicyDrop, "FORWARD", "DOCKER-USER")
	l.silent(c, "tcp", outsideAddress+":8080", "a drop is final")
	if r := Checks()[4].Run(t.Context()); r.Status != doctor.Limited || !strings.HasPrefix(r.Found, "Docker's chain") {
		t.Errorf("the doctor says %+v", r)
	}
	conn := new(nftables.Conn)
	filter := &nftables.Table{Name: "filter", Family: nftables.TableFamilyIPv4}
	for _, bridge := range [][]expr.Any{iifname(expr.CmpOpEq, n.Bridge), oifname(expr.CmpOpEq, n.Bridge)} {
		conn.AddRule(&nftables.Rule{
			Table: filter, Chain: &nftables.Chain{Name: "FORWARD", Table: filter},
			Exprs: append(bridge, verdict(expr.VerdictAccept)...),
		})
	}
	must(t, conn.Flush())
	l.answers(c, "tcp", outsideAddress+":8080", hostAddress)
}

func TestAtlasNetworkIsUnreachable(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	err := doctor.Apart(t.Context(), unix.CLONE_NEWNET, func() error {
		_, err := net.DialTimeout("tcp", "127.0.0.1:1", time.Second)
		fails(t, "localhost in a new namespace", err, unix.ENETUNREACH)
		if err := loopbackUp(t.Context()); err != nil {
			return err
		}
		_, err = net.DialTimeout("tcp", "127.0.0.1:1", time.Second)
		fails(t, "localhost when lo is up: it is reached, and nobody listens", err, unix.ECONNREFUSED)
		_, err = net.DialTimeout("tcp", "192.0.2.1:1", time.Second)
		fails(t, "another host without a default route", err, unix.ENETUNREACH)
		return nil
	})
	must(t, err)
}

func TestAtlasNamesOfLinks(t *testing.T) {
	hosttest.Require(t, hosttest.Bridge)
	add := func(name string) error {
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}})
	}
	fails(t, "a name of 16 bytes", add("drydock-bridge-0"), unix.ERANGE)
	must(t, add("dd9"))
	t.Cleanup(func() { must(t, deleteLink("dd9", "bridge")) })
	fails(t, "a name that there is already", add("dd9"), unix.EEXIST)
}

func TestAtlasGatewayThatIsNotOnALink(t *testing.T) {
	hosttest.Require(t, hosttest.Bridge)
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "dd9"}}))
	t.Cleanup(func() { must(t, deleteLink("dd9", "bridge")) })
	link := linkByName(t, "dd9")
	must(t, netlink.LinkSetUp(link))
	route := &netlink.Route{Gw: net.IPv4(198, 51, 100, 1), LinkIndex: link.Attrs().Index}
	fails(t, "a default route before the address", netlink.RouteAdd(route), unix.ENETUNREACH)
	addAddress(t, "dd9", "198.51.100.2/24")
	if err := netlink.RouteAdd(route); err != nil {
		t.Errorf("after it: %v", err)
	}
}

func TestAtlasAddressThatIsTentative(t *testing.T) {
	l := newLab(t)
	c, _ := l.container(l.network(0), 2)
	l.at(c, func() {
		eth0 := linkByName(t, "eth0")
		bind := func(address string) error {
			conn, err := net.ListenPacket("udp", at(address, "53"))
			if err == nil {
				conn.Close()
			}
			return err
		}
		must(t, netlink.AddrAdd(eth0, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("fd00:9::2/64"))}))
		fails(t, "a new IPv6 address: EADDRNOTAVAIL", bind("fd00:9::2"), unix.EADDRNOTAVAIL)
		must(t, netlink.AddrAdd(eth0, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("fd00:9::3/64")), Flags: unix.IFA_F_NODAD}))
		must(t, bind("fd00:9::3"))
	})
}

func TestAtlasPortThatLocalhostDoesNotReachInIPv6(t *testing.T) {
	l := newLab(t)
	n := l.create(dualStack(testNetwork(0)))
	r, err := Reserve(Port{HostPort: 18080, ContainerPort: 80, Protocol: "tcp"})
	must(t, err)
	defer r.Close()
	c, ep := l.container(n, 2, "18080:80")
	l.serve(c, "tcp", "[::]:80")
	l.answers(nil, "tcp", at(hostAddress6, "18080"), "")
	_, err = l.ask(nil, "tcp", "[::1]:18080", silence)
	fails(t, "::1: ECONNREFUSED", err, unix.ECONNREFUSED)
	must(t, r.Relay(background, ep.Address6.Addr()))
	l.answers(nil, "tcp", "[::1]:18080", "")
}

func TestAtlasHostThatLosesItsIPv6Route(t *testing.T) {
	l := newLab(t)
	outside := l.tap(l.outside)
	var mac net.HardwareAddr
	l.at(l.outside, func() { mac = linkByName(t, "eth0").Attrs().HardwareAddr })
	// learned reports whether the host takes the outside for its router.
	learned := func() bool {
		for range 40 {
			outside.send(ether(net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, mac, unix.ETH_P_IPV6, packet6(linkLocal(mac), netip.IPv6LinkLocalAllNodes(), routerAdvert())))
			routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{}, netlink.RT_FILTER_DST)
			must(t, err)
			for _, r := range routes {
				must(t, netlink.RouteDel(&r))
				return true
			}
			outside.hears(5*time.Millisecond, func([]byte) bool { return false })
		}
		return false
	}
	const all, uplink = "/proc/sys/net/ipv6/conf/all/forwarding", "/proc/sys/net/ipv6/conf/uplink/accept_ra"
	set(t, all, "0")
	if !learned() {
		t.Error("a host does not listen to router advertisements")
	}
	set(t, all, "1")
	if learned() {
		t.Error("a router listens to router advertisements, with accept_ra=1")
	}
	set(t, uplink, "2")
	if !learned() {
		t.Error("a router does not listen to router advertisements, with accept_ra=2")
	}
}

func TestAtlasAddressThatTheContainerGaveItself(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	server, _ := l.container(n, 2)
	l.serve(server, "tcp", ":80")
	ns, ep := newNamespace(t), endpoint(t, n, 3)
	for _, router := range []bool{false, true} {
		ep.Interface, ep.Router = "", router
		must(t, n.Connect(background, ns, ep))
		l.at(ns, func() {
			eth0 := linkByName(t, "eth0")
			must(t, netlink.AddrDel(eth0, &netlink.Addr{IPNet: ipNet(ep.Address)}))
			must(t, netlink.AddrAdd(eth0, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("172.30.0.99/24"))}))
		})
		if router {
			l.answers(ns, "tcp", "172.30.0.2:80", "172.30.0.99")
		} else {
			l.silent(ns, "tcp", "172.30.0.2:80", "172.30.0.99 was given to nobody")
		}
		must(t, n.Disconnect(background, ep))
	}
}

func TestAtlasDatagramsThatStayWhereTheyWere(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	old := l.serve(nil, "udp", hostAddress+":18053")
	c, ep := l.container(n, 2)
	l.serve(c, "udp", "172.30.0.2:53")
	f := l.flow(l.outside, hostAddress+":18053")
	f.flows()
	ep.Ports = endpoint(t, n, 2, "18053:53/udp").Ports
	must(t, n.publish(background, ep)) // the rules alone
	f.flows()
	if tracked(t, "172.30.0.2") {
		t.Error("a flow under way follows new rules")
	}
	// An answer of the old server that is just under way would make the same flow
	// anew, from the other side.
	must(t, old.Close())
	must(t, n.forgetDatagrams(background, ep.Ports))
	f.flows()
	if !tracked(t, "172.30.0.2") {
		t.Error("a flow that was forgotten does not follow the rules")
	}
}
