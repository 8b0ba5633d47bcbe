//go:build linux

package networking

import (
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

func sysctl(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/net/" + name)
	must(t, err)
	return strings.TrimSpace(string(b))
}

func hasTable(t *testing.T) bool {
	t.Helper()
	all, err := new(nftables.Conn).ListTables()
	must(t, err)
	for _, tab := range all {
		if tab.Name == table.Name {
			return true
		}
	}
	return false
}

func TestCreateMakesTheGateway(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	link := linkByName(t, "dd0")
	addresses, err := netlink.AddrList(link, netlink.FAMILY_V4)
	must(t, err)
	if link.Type() != "bridge" || len(addresses) != 1 || addresses[0].IPNet.String() != "172.30.0.1/24" {
		t.Errorf("dd0 is a %s with %v", link.Type(), addresses)
	}
	for name, want := range map[string]string{"ipv4/ip_forward": "1", "ipv4/conf/dd0/route_localnet": "1", "ipv6/conf/dd0/disable_ipv6": "1", "ipv4/conf/all/route_localnet": "0"} {
		if got := sysctl(t, name); got != want {
			t.Errorf("net/%s is %s, want %s", name, got, want)
		}
	}
	// Ports that come and go do not change the gateway's Ethernet address.
	before := link.Attrs().HardwareAddr.String()
	l.container(n, 2)
	if after := linkByName(t, "dd0").Attrs().HardwareAddr.String(); after != before {
		t.Errorf("the bridge's address was %s and is %s", before, after)
	}
}

func TestCreateRepairs(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	c, _ := l.container(n, 2)
	l.serve(l.outside, "tcp", outsideAddress+":80")
	link := linkByName(t, "dd0")
	must(t, netlink.LinkSetDown(link))
	a, err := netlink.ParseAddr("172.30.0.1/24")
	must(t, err)
	must(t, netlink.AddrDel(link, a))
	must(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0))
	n.MTU = 1400

	must(t, n.Create(background))
	if mtu := linkByName(t, "dd0").Attrs().MTU; mtu != 1400 {
		t.Errorf("the bridge's MTU is %d", mtu)
	}
	must(t, awaitUp(background, handle(t), -1, link.Attrs().Index))
	l.answers(c, "tcp", outsideAddress+":80", hostAddress)
}

func TestDeleteLeavesNothing(t *testing.T) {
	newLab(t)
	n0, n1 := testNetwork(0), testNetwork(1)
	must(t, n0.Create(background))
	must(t, n1.Create(background))
	must(t, n0.Delete(background))
	if hasLink(t, "dd0") || !hasLink(t, "dd1") || len(rules(t, n1)) == 0 {
		t.Error("Delete of one network left its bridge, or took another's bridge or rules")
	}
	must(t, n1.Delete(background))
	if hasLink(t, "dd1") || hasTable(t) {
		t.Error("Delete of the last network leaves its bridge or the table")
	}
	must(t, n1.Delete(background))
	if hasTable(t) {
		t.Error("Delete of a network that is not there leaves the table")
	}
}

// Two engines do not know of each other; the table is shared all the same.
func TestNetworksComeAndGoSideBySide(t *testing.T) {
	newLab(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			n := testNetwork(i)
			for range 5 {
				if err := n.Create(background); err != nil {
					t.Errorf("Create: %v", err)
				}
				if got := len(rules(t, n)); got != len(n.ruleset().rules) {
					t.Errorf("network %d has %d rules of %d", i, got, len(n.ruleset().rules))
				}
				if err := n.Delete(background); err != nil {
					t.Errorf("Delete: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if hasTable(t) {
		t.Error("the table stays when all networks are gone")
	}
}

func TestCreateLeavesOthersAlone(t *testing.T) {
	l := newLab(t)
	l.network(0)
	other := testNetwork(3)
	other.Bridge = "dd0"
	err := other.Create(background)
	want := "network net3: bridge dd0 has the address 172.30.0.1/24 already, another network's"
	if err == nil || err.Error() != want || !errdefs.IsAlreadyExists(err) {
		t.Errorf("Create: %v, want %s", err, want)
	}
	other.Bridge = "uplink"
	err = other.Create(background)
	if want := "network net3: the host has a link uplink already, a veth"; err == nil || err.Error() != want || !errdefs.IsAlreadyExists(err) {
		t.Errorf("Create: %v, want %s", err, want)
	}
	err = other.Delete(background)
	if want := "link uplink is a veth, not a bridge of ours"; err == nil || err.Error() != want || !hasLink(t, "uplink") {
		t.Errorf("Delete: %v, want %s", err, want)
	}
}

func TestCreateRefuses(t *testing.T) {
	for want, change := range map[string]func(*Network){
		`network net0: "" is no name for a bridge (1 to 15 letters, digits, '_', '.' and '-', a letter first)`:                 func(n *Network) { n.Bridge = "" },
		`network net0: "a234567890123456" is no name for a bridge (1 to 15 letters, digits, '_', '.' and '-', a letter first)`: func(n *Network) { n.Bridge = "a234567890123456" },
		`network net0: "../x" is no name for a bridge (1 to 15 letters, digits, '_', '.' and '-', a letter first)`:             func(n *Network) { n.Bridge = "../x" },
		"network net0: fd00::/64 is not an IPv4 subnet with room for a gateway and a container":                                func(n *Network) { n.Subnet = netip.MustParsePrefix("fd00::/64") },
		"network net0: 10.0.0.0/31 is not an IPv4 subnet with room for a gateway and a container":                              func(n *Network) { n.Subnet = netip.MustParsePrefix("10.0.0.0/31") },
		"network net0: gateway 10.0.0.1 is not in 172.30.0.0/24":                                                               func(n *Network) { n.Gateway = netip.MustParseAddr("10.0.0.1") },
		"network net0: 10.0.0.0/8 is not an IPv6 subnet with room for a gateway and a container":                               func(n *Network) { n.Subnet6 = netip.MustParsePrefix("10.0.0.0/8") },
		"network net0: gateway invalid IP is not in fd00::/64":                                                                 func(n *Network) { n.Subnet6 = netip.MustParsePrefix("fd00::/64") },
		"network net0: an IPv6 gateway or routing without an IPv6 subnet":                                                      func(n *Network) { n.Routed6 = true },
		"network net0: an MTU of 1000 is less than IPv6's smallest, 1280":                                                      func(n *Network) { *n = *dualStack(n); n.MTU = 1000 },
		"network net0: an MTU of 9 is less than IPv4's smallest, 68":                                                           func(n *Network) { n.MTU = 9 },
	} {
		n := testNetwork(0)
		change(n)
		if err := n.Create(background); err == nil || err.Error() != want || !errdefs.IsInvalidArgument(err) {
			t.Errorf("Create: %v, want %s", err, want)
		}
	}
}

// Two programs that begin at the same moment both make the network that they
// meet in, and neither takes the other's away.
func TestManyCreateAtOnce(t *testing.T) {
	newLab(t)
	for range 10 {
		n := &Network{
			Name: "net0", Bridge: "dd0", Subnet: netip.MustParsePrefix("172.30.0.0/24"), Gateway: netip.MustParseAddr("172.30.0.1"),
			Subnet6: netip.MustParsePrefix("fd00:5::/64"), Gateway6: netip.MustParseAddr("fd00:5::1"),
		}
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				if err := n.Create(background); err != nil {
					t.Errorf("Create: %v", err)
				}
			})
		}
		all.Wait()
		addresses, err := netlink.AddrList(linkByName(t, "dd0"), netlink.FAMILY_ALL)
		must(t, err)
		if len(addresses) != 3 { // IPv4, IPv6, link-local
			t.Errorf("dd0 has %v", addresses)
		}
		must(t, n.Delete(background))
	}
}
