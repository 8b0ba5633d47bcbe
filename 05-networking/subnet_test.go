//go:build linux

package networking

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
)

func TestSubnetPoolHandsOutItsSubnets(t *testing.T) {
	for _, test := range []struct {
		base string
		bits int
		i    int
		want string
	}{
		{"172.24.0.0/13", 16, 0, "172.24.0.0/16"},
		{"172.24.0.0/13", 16, 7, "172.31.0.0/16"},
		{"192.168.0.0/16", 24, 255, "192.168.255.0/24"},
		{"10.0.0.0/8", 26, 5, "10.0.1.64/26"},
		{"fd00:1:2::/48", 64, 0xabcd, "fd00:1:2:abcd::/64"},
		{"10.1.0.0/24", 24, 0, "10.1.0.0/24"},
	} {
		p := SubnetPool{netip.MustParsePrefix(test.base), test.bits}
		must(t, p.check())
		if got := p.at(test.i).String(); got != test.want || test.i >= p.size() {
			t.Errorf("subnet %d of %v (which has %d) is %s, want %s", test.i, p, p.size(), got, test.want)
		}
	}
	for _, p := range PrivateSubnets {
		if !p.Base.Addr().IsPrivate() || p.Base.Masked() != p.Base {
			t.Errorf("%v is not a private range", p)
		}
	}
}

func TestLocalSubnets6AreAnEnginesOwn(t *testing.T) {
	a, b := LocalSubnets6("a"), LocalSubnets6("b")
	if a != LocalSubnets6("a") || a.Base == b.Base || a.Base.Bits() != 48 || !netip.MustParsePrefix("fd00::/8").Contains(a.Base.Addr()) {
		t.Errorf("%v and %v", a, b)
	}
}

func TestCreateFreeRefuses(t *testing.T) {
	n := testNetwork(0)
	n.Subnet, n.Gateway = netip.Prefix{}, netip.Addr{}
	err := n.CreateFree(background, SubnetPool{netip.MustParsePrefix("10.0.0.0/24"), 16})
	if want := "network net0: subnets of /16 in 10.0.0.0/24: a subnet lies within its pool, and has room for a gateway and a container"; err == nil || err.Error() != want || !errdefs.IsInvalidArgument(err) {
		t.Errorf("CreateFree: %v, want %s", err, want)
	}
	newLab(t) // 192.0.2.0/24
	err = n.CreateFree(background, SubnetPool{netip.MustParsePrefix("192.0.2.0/24"), 28})
	if want := "network net0: no subnet is free: the host has routes into all of [192.0.2.0/24 in /28]; choose one yourself, or remove networks"; err == nil || err.Error() != want || !errdefs.IsResourceExhausted(err) {
		t.Errorf("CreateFree: %v, want %s", err, want)
	}
	n.Subnet, n.Gateway = netip.MustParsePrefix("192.0.0.0/16"), netip.MustParseAddr("192.0.0.1")
	err = n.CreateFree(background)
	if want := "network net0: the host has a route to 192.0.2.0/24, which overlaps 192.0.0.0/16"; err == nil || err.Error() != want || !errdefs.IsAlreadyExists(err) {
		t.Errorf("CreateFree: %v, want %s", err, want)
	}
	if hasLink(t, "dd0") {
		t.Error("a bridge stays after an error")
	}
}

// Two engines on one host know nothing of each other. Each makes its networks
// out of the same pools at the same time, and no two get the same subnet.
func TestEnginesSideBySideChooseDifferentSubnets(t *testing.T) {
	newLab(t)
	pools := []SubnetPool{{netip.MustParsePrefix("172.24.0.0/13"), 18}, {netip.MustParsePrefix("fd00:5::/48"), 64}}
	const engines, each = 2, 6
	var wg sync.WaitGroup
	all := make([]*Network, engines*each)
	for e := range engines {
		wg.Go(func() {
			for i := range each {
				n := &Network{Name: fmt.Sprint(i), Bridge: fmt.Sprintf("dd%d-%d", e, i)}
				if err := n.CreateFree(background, pools...); err != nil {
					t.Errorf("engine %d: %v", e, err)
					return
				}
				all[e*each+i] = n
			}
		})
	}
	wg.Wait()
	for i, n := range all {
		if n == nil {
			continue
		}
		defer n.Delete(background)
		if n.Gateway != n.Subnet.Addr().Next() || n.Gateway6 != n.Subnet6.Addr().Next() {
			t.Errorf("%s has the gateways %s and %s in %s and %s", n.Bridge, n.Gateway, n.Gateway6, n.Subnet, n.Subnet6)
		}
		for _, other := range all[:i] {
			if other != nil && (n.Subnet.Overlaps(other.Subnet) || n.Subnet6.Overlaps(other.Subnet6)) {
				t.Errorf("%s and %s share %s, %s", n.Bridge, other.Bridge, n.Subnet, n.Subnet6)
			}
		}
	}
}

// A subnet of earlier times is kept over a restart, and its own bridge is not in its way.
func TestCreateFreeAfterARestart(t *testing.T) {
	newLab(t)
	n := &Network{Name: "net", Bridge: "dd0"}
	must(t, n.CreateFree(background, PrivateSubnets...))
	defer n.Delete(background)
	again := *n
	must(t, again.CreateFree(background, PrivateSubnets...))
	if again != *n {
		t.Errorf("after a restart: %+v, before it %+v", again, *n)
	}
	addresses, err := netlink.AddrList(linkByName(t, "dd0"), netlink.FAMILY_V4)
	must(t, err)
	if len(addresses) != 1 {
		t.Errorf("dd0 has %v", addresses)
	}
}
