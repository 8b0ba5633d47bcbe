//go:build linux

package networking

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestPublishedPortAnswersFromEverywhere(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	c, _ := l.container(n, 2, "18080:8080", "18053:53/udp")
	neighbour, _ := l.container(n, 3)
	l.serve(c, "tcp", ":8080")
	l.serve(c, "udp", "172.30.0.2:53")
	for network, port := range map[string]string{"tcp": ":18080", "udp": ":18053"} {
		// The source address is the client's own wherever the answer finds
		// its way back without a translation.
		l.answers(l.outside, network, hostAddress+port, outsideAddress)
		l.answers(nil, network, hostAddress+port, hostAddress)
		l.answers(nil, network, "127.0.0.1"+port, "172.30.0.1")
		l.answers(nil, network, "127.9.9.9"+port, "172.30.0.1")
		l.answers(neighbour, network, hostAddress+port, "172.30.0.1")
		l.answers(c, network, hostAddress+port, "172.30.0.1")
		l.answers(c, network, "172.30.0.1"+port, "172.30.0.1")
	}
}

func TestPortOnOneAddressIsNotOnAnother(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	c, _ := l.container(n, 2, hostAddress+":18080:8080", "127.0.0.1:18081:8080")
	l.serve(c, "tcp", ":8080")
	l.answers(l.outside, "tcp", hostAddress+":18080", outsideAddress)
	l.silent(nil, "tcp", "127.0.0.1:18080", "it is published on "+hostAddress)
	l.answers(nil, "tcp", "127.0.0.1:18081", "172.30.0.1")
	l.silent(nil, "tcp", hostAddress+":18081", "it is published on 127.0.0.1")
	l.silent(l.outside, "tcp", hostAddress+":18081", "it is published on 127.0.0.1")
}

// stealLoopback makes ns send what is meant for 127.0.0.1 through its link to
// gateway, as whoever is root there can.
func (l *lab) stealLoopback(ns *os.File, gateway string) {
	l.t.Helper()
	l.at(ns, func() {
		must(l.t, os.WriteFile("/proc/sys/net/ipv4/conf/eth0/route_localnet", []byte("1"), 0))
		lo, err := netlink.ParseAddr("127.0.0.1/8")
		must(l.t, err)
		must(l.t, netlink.AddrDel(linkByName(l.t, "lo"), lo))
		must(l.t, netlink.RouteAdd(&netlink.Route{
			LinkIndex: linkByName(l.t, "eth0").Attrs().Index,
			Dst:       ipNet(loopbackNet), Gw: netip.MustParseAddr(gateway).AsSlice(),
		}))
	})
}

func TestAnotherHostDoesNotReachAPortOfLocalhost(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	c, _ := l.container(n, 2, "127.0.0.1:18080:8080")
	l.serve(c, "tcp", ":8080")
	l.stealLoopback(l.outside, hostAddress)
	l.silent(l.outside, "tcp", "127.0.0.1:18080", "it is the host's own")

	// The attack does work on the rule that comes to mind first.
	s, naive := n.ruleset(), new(nftables.Conn)
	i := slices.IndexFunc(s.chains, func(c *nftables.Chain) bool { return c.Name == "prerouting-dd0" })
	publish := slices.IndexFunc(s.chains, func(c *nftables.Chain) bool { return c.Name == "publish-dd0" })
	naive.FlushChain(s.chains[i])
	naive.AddRule(&nftables.Rule{Table: table, Chain: s.chains[i], Exprs: slices.Concat(family(unix.NFPROTO_IPV4), daddrIsLocal(), jump(s.chains[publish]))})
	must(t, naive.Flush())
	l.answers(l.outside, "tcp", "127.0.0.1:18080", outsideAddress)

	must(t, n.Create(background))
	l.silent(l.outside, "tcp", "127.0.0.1:18080", "Create puts the rule back")
}

func TestContainerDoesNotReachTheHostsLocalhost(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	c, _ := l.container(n, 2)
	l.serve(nil, "tcp", "127.0.0.1:18080")
	l.stealLoopback(c, "172.30.0.1")
	l.silent(c, "tcp", "127.0.0.1:18080", "it is the host's own")

	// route_localnet alone lets it in: CVE-2020-8558.
	emptied(t, n, "guard")
	l.answers(c, "tcp", "127.0.0.1:18080", "172.30.0.2")

	must(t, n.Create(background))
	l.silent(c, "tcp", "127.0.0.1:18080", "Create puts the rule back")
}

// A client that never stops sending keeps one flow alive; what is published
// after its first datagram, and what is taken back, must count for it too.
func TestDatagramsFollowThePort(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	l.serve(nil, "udp", hostAddress+":18053")
	first, a := l.container(n, 2)
	l.serve(first, "udp", "172.30.0.2:53")
	var client net.Conn
	l.at(l.outside, func() {
		var err error
		client, err = net.DialTimeout("udp", hostAddress+":18053", time.Second)
		must(t, err)
	})
	defer client.Close()
	client.SetDeadline(time.Now().Add(5 * time.Second))
	exchange := func() {
		t.Helper()
		_, err := client.Write([]byte("?"))
		must(t, err)
		_, err = client.Read(make([]byte, 100))
		must(t, err)
	}
	exchange() // with the host's own server

	a.Ports = endpoint(t, n, 2, "18053:53/udp").Ports
	must(t, n.Publish(background, a))
	exchange()
	if !tracked(t, "172.30.0.2") {
		t.Error("the datagram after Publish did not go to the container")
	}
	must(t, n.Unpublish(background, a))
	exchange()
	if tracked(t, "172.30.0.2") {
		t.Error("the datagram after Unpublish still went to the container")
	}
}

// tracked reports whether the host tracks a UDP flow to port 18053 that address answers.
func tracked(t *testing.T, address string) bool {
	t.Helper()
	all, err := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
	must(t, err)
	return slices.ContainsFunc(all, func(f *netlink.ConntrackFlow) bool {
		return f.Forward.Protocol == unix.IPPROTO_UDP && f.Forward.DstPort == 18053 && f.Reverse.SrcIP.String() == address
	})
}

func TestPortOfAnotherContainerIsRefused(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	l.container(n, 2, "18080:80")
	ep := endpoint(t, n, 3, "18081:80", "18080:80")
	err := n.Connect(background, newNamespace(t), ep)
	want := "network net0: one of the ports [*:18081->80/tcp *:18080->80/tcp] is published for another container"
	if err == nil || err.Error() != want || !errdefs.IsAlreadyExists(err) {
		t.Errorf("Connect: %v, want %s", err, want)
	}
	if hasLink(t, "veth-ac1e0003") {
		t.Error("the veth pair stays after an error")
	}
	if got, err := n.Endpoints(background); err != nil || len(got) != 1 || len(got[0].Ports) != 1 {
		t.Errorf("Endpoints: %v, %v: something stays after an error", got, err)
	}
}

func TestUnpublishLeavesTheOthers(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	_, a := l.container(n, 2, "18080:80", "127.0.0.1:18081:80/udp")
	_, b := l.container(n, 3, "18082:80")
	must(t, n.Unpublish(background, a))
	must(t, n.Unpublish(background, a))
	known, err := n.known()
	must(t, err)
	if all := known.published; len(all) != 1 || all[0].address != b.Address.Addr() {
		t.Errorf("published: %v, want that of %s only", known.published, b.Address)
	}
}

func TestPublishNeedsAHostPort(t *testing.T) {
	n := testNetwork(0)
	err := n.Publish(background, endpoint(t, n, 2, "80"))
	if want := "port *:0->80/tcp: no host port is chosen yet"; err == nil || err.Error() != want || !errdefs.IsInvalidArgument(err) {
		t.Errorf("Publish: %v, want %s", err, want)
	}
}

func TestElementsReadBack(t *testing.T) {
	for _, p := range []Port{
		{HostIP: netip.IPv4Unspecified(), HostPort: 8080, ContainerPort: 80, Protocol: "tcp"},
		{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 53, ContainerPort: 5353, Protocol: "udp"},
	} {
		m := mapping{p, netip.MustParseAddr("172.30.0.2")}
		if got, ok := mappingOf(m.element()); !ok || got != m {
			t.Errorf("%v reads back as %v, %v", m, got, ok)
		}
	}
	if m, ok := mappingOf(nftables.SetElement{Key: []byte{1}}); ok {
		t.Errorf("a key of one byte reads as %v", m)
	}
}
