//go:build linux

package networking

import (
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

func TestContainerReachesOutsideAsTheHost(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	l.serve(l.outside, "tcp", outsideAddress+":80")
	l.serve(l.outside, "udp", outsideAddress+":53")
	c, _ := l.container(n, 2)
	l.answers(c, "tcp", outsideAddress+":80", hostAddress)
	l.answers(c, "udp", outsideAddress+":53", hostAddress)
}

func TestNeighboursTalkWithoutTranslation(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	a, _ := l.container(n, 2)
	b, _ := l.container(n, 3)
	l.serve(b, "tcp", "172.30.0.3:80")
	l.answers(a, "tcp", "172.30.0.3:80", "172.30.0.2")
}

func TestNetworksAreIsolated(t *testing.T) {
	l := newLab(t)
	n0, n1 := l.network(0), l.network(1)
	a, _ := l.container(n0, 2)
	b, _ := l.container(n1, 2, "18080:80")
	l.serve(b, "tcp", ":80")
	l.silent(a, "tcp", "172.30.1.2:80", "another network's container")
	l.answers(a, "tcp", hostAddress+":18080", "")
}

// Another host may route straight to a container's address; the host is a
// router, after all.
func TestOnlyPublishedPortsAreReachedFromOutside(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	c, _ := l.container(n, 2, "18080:8080")
	l.serve(c, "tcp", ":8080")
	l.at(l.outside, func() {
		must(t, netlink.RouteAdd(&netlink.Route{
			LinkIndex: linkByName(t, "eth0").Attrs().Index,
			Dst:       ipNet(n.Subnet), Gw: netip.MustParseAddr(hostAddress).AsSlice(),
		}))
	})
	l.answers(l.outside, "tcp", hostAddress+":18080", outsideAddress)
	l.silent(l.outside, "tcp", "172.30.0.2:8080", "not the way it is published")
}

func TestRulesArePutBackAfterAFlush(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	c, ep := l.container(n, 2, "18080:8080", "127.0.0.1:18081:8080")
	l.serve(c, "tcp", ":8080")
	l.serve(l.outside, "tcp", outsideAddress+":80")

	flush := new(nftables.Conn)
	flush.FlushRuleset()
	must(t, flush.Flush())
	l.silent(c, "tcp", outsideAddress+":80", "there is no NAT")
	l.silent(l.outside, "tcp", hostAddress+":18080", "nothing is published")

	must(t, n.Create(background))
	must(t, n.Publish(background, ep))
	l.answers(c, "tcp", outsideAddress+":80", hostAddress)
	l.answers(l.outside, "tcp", hostAddress+":18080", outsideAddress)
	l.answers(nil, "tcp", "127.0.0.1:18081", "")
}

func TestCreateTwiceIsCreateOnce(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	c, _ := l.container(n, 2, "18080:8080")
	l.serve(c, "tcp", ":8080")
	before := rules(t, n)
	must(t, n.Create(background))
	if after := rules(t, n); !slices.Equal(before, after) {
		t.Errorf("rules before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	l.answers(l.outside, "tcp", hostAddress+":18080", outsideAddress)
}

// What every packet passes does not grow with the number of networks: on a host
// with thirty of them a packet took twice as long when each had chains of its own.
func TestPacketsPassTheChainsOfAllNetworksOnce(t *testing.T) {
	l := newLab(t)
	n := l.create(dualStack(testNetwork(0)))
	c, _ := l.container(n, 2, "18080:80")
	l.serve(c, "tcp", ":80")
	passed := func() (names []string) {
		all, err := new(nftables.Conn).ListChains()
		must(t, err)
		for _, ch := range all {
			if ch.Hooknum != nil && ch.Type == nftables.ChainTypeFilter {
				names = append(names, ch.Name)
			}
		}
		slices.Sort(names)
		return names
	}
	members := func(set *nftables.Set) (names []string) {
		elements, err := new(nftables.Conn).GetSetElements(set)
		must(t, err)
		for _, e := range elements {
			names = append(names, linkName(e.Key))
		}
		slices.Sort(names)
		return names
	}
	want := []string{"forward", "guard"}
	if got := passed(); !slices.Equal(got, want) {
		t.Fatalf("with one network every packet passes %v, want %v", got, want)
	}
	second, third := testNetwork(1), testNetwork(2)
	l.create(third)
	must(t, second.Create(background))
	must(t, second.Connect(background, newNamespace(t), endpoint(t, second, 2)))
	s := n.ruleset()
	if got := passed(); !slices.Equal(got, want) {
		t.Errorf("with three networks every packet passes %v, want %v", got, want)
	}
	if got := members(s.networks); !slices.Equal(got, []string{"dd0", "dd1", "dd2"}) {
		t.Errorf("the networks are %v", got)
	}
	// A network takes what is its own, its containers' places in the guard too,
	// and leaves what is the others'.
	must(t, second.Delete(background))
	must(t, second.Disconnect(background, endpoint(t, second, 2)))
	if got := passed(); !slices.Equal(got, want) {
		t.Errorf("after a Delete every packet passes %v, want %v", got, want)
	}
	if got := members(s.networks); !slices.Equal(got, []string{"dd0", "dd2"}) {
		t.Errorf("after a Delete the networks are %v", got)
	}
	if got := members(s.guard.ports); !slices.Equal(got, []string{"veth-ac1e0002"}) {
		t.Errorf("after a Delete the guarded ports are %v", got)
	}
	l.answers(l.outside, "tcp", hostAddress+":18080", outsideAddress)
}

// rules returns each rule's chain and comment, as the kernel has them.
func rules(t testing.TB, n *Network) (all []string) {
	t.Helper()
	must(t, unchanged(func() error {
		all = nil
		for _, ch := range n.ruleset().chains {
			rs, err := new(nftables.Conn).GetRules(ch.Table, ch)
			if err != nil {
				return err
			}
			for _, r := range rs {
				all = append(all, ch.Name+": "+string(r.UserData))
			}
		}
		return nil
	}))
	return all
}

// TestRulesAreWhatTheyAreSaidToBe compares the text of each rule, which
// --explain shows, with what nft reads out of the kernel.
func TestRulesAreWhatTheyAreSaidToBe(t *testing.T) {
	hosttest.Require(t, hosttest.Bridge, hosttest.Program("nft"))
	l := newLab(t)
	routed := dualStack(testNetwork(1))
	routed.Routed, routed.Routed6 = true, true
	internal := dualStack(testNetwork(2))
	internal.Internal = true
	for _, n := range []*Network{testNetwork(3), dualStack(testNetwork(0)), routed, internal} {
		l.create(n)
		rulesAreWhatTheyAreSaidToBe(t, n)
	}
}

func rulesAreWhatTheyAreSaidToBe(t *testing.T, n *Network) {
	t.Helper()
	for _, c := range n.ruleset().chains {
		out, err := exec.Command("nft", "list", "chain", families[c.Table.Family], c.Table.Name, c.Name).CombinedOutput()
		if err != nil {
			t.Fatalf("nft: %v: %s", err, out)
		}
		var got, want []string
		for _, line := range strings.Split(string(out), "\n") {
			if rule, _, found := strings.Cut(strings.TrimSpace(line), " comment "); found {
				// What older versions of nft do not know by its name.
				got = append(got, strings.Replace(rule, "@th,64,128", "icmpv6 taddr", 1))
			}
		}
		for _, r := range n.ruleset().rules {
			if r.chain.Name == c.Name {
				want = append(want, r.text)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("chain %s\nnft shows:\n  %s\nwe say:\n  %s", c.Name, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
	}
}
