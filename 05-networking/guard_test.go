//go:build linux

package networking

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// wire is a raw socket on a link: what passes is heard, and anything can be sent.
type wire struct {
	t     testing.TB
	fd    int
	index int
}

// tap listens to all that arrives at eth0 of ns, in promiscuous mode, as a
// container with CAP_NET_RAW can.
func (l *lab) tap(ns *os.File) *wire {
	l.t.Helper()
	w := &wire{t: l.t}
	l.at(ns, func() {
		w.index = linkByName(l.t, "eth0").Attrs().Index
		all := int(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)))
		var err error
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
		must(l.t, err)
		l.t.Cleanup(func() { unix.Close(w.fd) })
		must(l.t, unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: w.index}))
		must(l.t, unix.SetsockoptPacketMreq(w.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(w.index), Type: unix.PACKET_MR_PROMISC}))
	})
	return w
}

func (w *wire) send(frame []byte) {
	w.t.Helper()
	must(w.t, unix.Sendto(w.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: w.index}))
}

// hears waits for a frame that another station sent and that ok accepts.
func (w *wire) hears(patience time.Duration, ok func(frame []byte) bool) bool {
	w.t.Helper()
	buf := make([]byte, 1<<16)
	for end := time.Now().Add(patience); ; {
		left := time.Until(end)
		if left <= 0 {
			return false
		}
		fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, int(left.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			w.t.Fatal(err)
		}
		n, from, err := unix.Recvfrom(w.fd, buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		must(w.t, err)
		if from.(*unix.SockaddrLinklayer).Pkttype != unix.PACKET_OUTGOING && ok(buf[:n]) {
			return true
		}
	}
}

// contains accepts frames with a text in them.
func contains(text string) func([]byte) bool {
	return func(frame []byte) bool { return slices.Contains(splitAt(frame, len(text)), text) }
}

func splitAt(b []byte, n int) (all []string) {
	for i := 0; i+n <= len(b); i++ {
		all = append(all, string(b[i:i+n]))
	}
	return all
}

func ether(to, from net.HardwareAddr, kind uint16, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint16(append(slices.Clone(to), from...), kind), payload...)
}

// ipv4 is a UDP datagram in an IPv4 packet (RFC 791, RFC 768).
func ipv4(src, dst netip.Addr, port uint16, text string) []byte {
	ip := []byte{0x45, 0}
	ip = binary.BigEndian.AppendUint16(ip, uint16(28+len(text)))
	ip = append(ip, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0)
	ip = append(append(ip, src.AsSlice()...), dst.AsSlice()...)
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum>>16+sum&0xffff))
	ip = binary.BigEndian.AppendUint16(ip, 4444)
	ip = binary.BigEndian.AppendUint16(ip, port)
	ip = binary.BigEndian.AppendUint16(ip, uint16(8+len(text)))
	return append(append(ip, 0, 0), text...)
}

// arp says that ip is at mac, to whoever asked or did not (RFC 826).
func arp(mac net.HardwareAddr, ip netip.Addr, toMAC net.HardwareAddr, to netip.Addr) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, 2}
	b = append(append(b, mac...), ip.AsSlice()...)
	return append(append(b, toMAC...), to.AsSlice()...)
}

// packet6 is an ICMPv6 packet with its checksum (RFC 8200, 8.1).
func packet6(src, dst netip.Addr, body []byte) []byte {
	pseudo := append(src.AsSlice(), dst.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(body)))
	pseudo = append(append(pseudo, 0, 0, 0, unix.IPPROTO_ICMPV6), body...)
	var sum uint32
	for i := 0; i+1 < len(pseudo); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(pseudo[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(body[2:], ^uint16(sum>>16+sum))
	ip := []byte{0x60, 0, 0, 0}
	ip = append(binary.BigEndian.AppendUint16(ip, uint16(len(body))), unix.IPPROTO_ICMPV6, 255)
	return append(append(append(ip, src.AsSlice()...), dst.AsSlice()...), body...)
}

// echo is a ping of an even number of bytes.
func echo(text string) []byte { return append([]byte{128, 0, 0, 0, 0, 0, 0, 0}, text...) }

// neighbourAdvert says that target is at mac, also to those who know better
// (RFC 4861, 4.4, the override flag).
func neighbourAdvert(target netip.Addr, mac net.HardwareAddr) []byte {
	b := append([]byte{ndNeighborAdvert, 0, 0, 0, 0x20, 0, 0, 0}, target.AsSlice()...)
	return append(append(b, 2, 1), mac...)
}

// routerAdvert offers a default route by the sender (RFC 4861, 4.2).
func routerAdvert() []byte {
	return []byte{ndRouterAdvert, 0, 0, 0, 64, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0}
}

// neighbourhood is a victim, an attacker, and the victim's neighbour or the
// attacker's target, on one bridge.
type neighbourhood struct {
	*lab
	n                   *Network
	victim, attacker    *os.File
	victimEP, attackEP  *Endpoint
	victims, attackers  *wire
	victimMAC, attackMA net.HardwareAddr
}

func newNeighbourhood(t *testing.T) *neighbourhood {
	h := &neighbourhood{lab: newLab(t)}
	h.n = h.create(dualStack(testNetwork(0)))
	h.victim, h.victimEP = h.container(h.n, 2)
	h.attacker, h.attackEP = h.container(h.n, 3)
	h.victims, h.attackers = h.tap(h.victim), h.tap(h.attacker)
	h.victimMAC, h.attackMA = h.victimEP.MAC, h.attackEP.MAC
	return h
}

// naive makes the attacker's port one as most bridges have it.
func (h *neighbourhood) naive() {
	h.t.Helper()
	emptied(h.t, h.n, "guard")
	for _, ep := range []*Endpoint{h.victimEP, h.attackEP} {
		veth := linkByName(h.t, ep.HostInterface)
		must(h.t, netlink.LinkSetLearning(veth, true))
		must(h.t, netlink.LinkSetFlood(veth, true))
		must(h.t, netlink.NeighDel(&netlink.Neigh{Family: unix.AF_BRIDGE, LinkIndex: veth.Attrs().Index, HardwareAddr: ep.MAC, Flags: netlink.NTF_MASTER}))
	}
}

// defended is naive's undo, by what an engine calls after a flush.
func (h *neighbourhood) defended() {
	h.t.Helper()
	must(h.t, h.n.Create(background))
	must(h.t, h.n.Publish(background, h.victimEP))
	must(h.t, h.n.Publish(background, h.attackEP))
}

func TestContainerSendsOnlyUnderItsOwnAddresses(t *testing.T) {
	h := newNeighbourhood(t)
	victim, attacker := h.victimEP.Address.Addr(), h.attackEP.Address.Addr()
	other := net.HardwareAddr{2, 0xdd, 0xac, 0x1e, 0, 77}
	victim6, attacker6 := h.victimEP.Address6.Addr(), h.attackEP.Address6.Addr()
	forged := map[string][]byte{
		"another's IP address":         ether(h.victimMAC, h.attackMA, unix.ETH_P_IP, ipv4(netip.MustParseAddr("172.30.0.9"), victim, 9, "open sesame")),
		"another's Ethernet address":   ether(h.victimMAC, other, unix.ETH_P_IP, ipv4(attacker, victim, 9, "open sesame")),
		"the gateway's":                ether(h.victimMAC, macOf(h.n.Gateway), unix.ETH_P_IP, ipv4(h.n.Gateway, victim, 9, "open sesame")),
		"an IPv6 address of another's": ether(h.victimMAC, h.attackMA, unix.ETH_P_IPV6, packet6(h.n.Gateway6, victim6, echo("open sesame."))),
		"a protocol of its own":        ether(h.victimMAC, h.attackMA, 0x88b5, []byte("open sesame")),
		"another's, in a VLAN":         ether(h.victimMAC, h.attackMA, unix.ETH_P_8021Q, append([]byte{0, 5, 8, 0}, ipv4(netip.MustParseAddr("172.30.0.9"), victim, 9, "open sesame")...)),
	}
	for what, frame := range forged {
		h.attackers.send(frame)
		if h.victims.hears(silence, contains("open sesame")) {
			t.Errorf("a frame with %s arrives", what)
		}
	}
	h.attackers.send(ether(h.victimMAC, h.attackMA, unix.ETH_P_IP, ipv4(attacker, victim, 9, "open sesame")))
	if !h.victims.hears(5*time.Second, contains("open sesame")) {
		t.Error("a frame under the attacker's own addresses does not arrive")
	}
	h.attackers.send(ether(h.victimMAC, h.attackMA, unix.ETH_P_IPV6, packet6(attacker6, victim6, echo("six."))))
	if !h.victims.hears(5*time.Second, contains("six")) {
		t.Error("a frame under its own IPv6 address does not arrive")
	}
	h.naive()
	for what, frame := range forged {
		h.attackers.send(frame)
		if !h.victims.hears(5*time.Second, contains("open sesame")) {
			t.Errorf("without the guard a frame with %s does not arrive: the test tests nothing", what)
		}
	}
}

// A bridge hands what is for a switch to the host itself, as it came from the
// port, past the rules for what comes from the bridge.
func TestContainerDoesNotReachTheHostAsASwitch(t *testing.T) {
	h := newNeighbourhood(t)
	ears, err := net.ListenPacket("udp4", ":9999")
	must(t, err)
	defer ears.Close()
	// heard sends under another's address to each of a switch's own.
	heard := func() (at []byte) {
		for last := range byte(16) {
			to := net.HardwareAddr{1, 0x80, 0xc2, 0, 0, last}
			h.attackers.send(ether(to, h.attackMA, unix.ETH_P_IP, ipv4(netip.MustParseAddr("172.30.0.9"), h.n.Gateway, 9999, string(last))))
		}
		must(t, ears.SetReadDeadline(time.Now().Add(silence)))
		for b := make([]byte, 1); ; at = append(at, b[0]) {
			if _, _, err := ears.ReadFrom(b); err != nil {
				return at
			}
		}
	}
	if at := heard(); at != nil {
		t.Errorf("the host hears somebody else by the addresses 01:80:c2:00:00:%02x", at)
	}
	must(t, netlink.LinkSetBRSlaveGroupFwdMask(linkByName(t, h.attackEP.HostInterface), 0))
	if at := heard(); len(at) != 14 {
		t.Errorf("as most bridges are, the host hears it by %02x: the test tests nothing", at)
	}
	h.defended()
	if at := heard(); at != nil {
		t.Errorf("after Publish the host hears somebody else by the addresses 01:80:c2:00:00:%02x", at)
	}
}

// ARP poisoning: the attacker says that the gateway is at its own address, and
// gets what the victim sends to the world.
func TestContainerDoesNotPoisonItsNeighbours(t *testing.T) {
	h := newNeighbourhood(t)
	h.serve(h.outside, "udp", "[::]:53")
	gateways := []netip.Addr{h.n.Gateway, h.n.Gateway6}
	attack := func() {
		h.attackers.send(ether(h.victimMAC, h.attackMA, unix.ETH_P_ARP, arp(h.attackMA, h.n.Gateway, h.victimMAC, h.victimEP.Address.Addr())))
		h.attackers.send(ether(h.victimMAC, h.attackMA, unix.ETH_P_IPV6, packet6(h.attackEP.Address6.Addr(), h.victimEP.Address6.Addr(), neighbourAdvert(h.n.Gateway6, h.attackMA))))
		h.attackers.send(ether(net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, h.attackMA, unix.ETH_P_IPV6, packet6(linkLocal(h.attackMA), netip.IPv6LinkLocalAllNodes(), routerAdvert())))
	}
	// believes tells what the victim takes for the gateways' addresses.
	believes := func() (macs []string) {
		h.at(h.victim, func() {
			all, err := netlink.NeighList(0, netlink.FAMILY_ALL)
			must(t, err)
			for _, gateway := range gateways {
				for _, e := range all {
					if e.IP.String() == gateway.String() {
						macs = append(macs, e.HardwareAddr.String())
					}
				}
			}
		})
		return macs
	}
	routes := func() int {
		var all []netlink.Route
		h.at(h.victim, func() {
			var err error
			all, err = netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{}, netlink.RT_FILTER_DST)
			must(t, err)
		})
		return len(all)
	}
	ask := func() {
		h.answers(h.victim, "udp", at(outsideAddress, "53"), "")
		h.answers(h.victim, "udp", at(outsideAddress6, "53"), "")
	}
	ask()
	gateway := macOf(h.n.Gateway).String()
	attack()
	if h.victims.hears(silence, func(f []byte) bool { return string(f[6:12]) == string(h.attackMA) }) {
		t.Error("the attacker's claim arrives")
	}
	if got := believes(); !slices.Equal(got, []string{gateway, gateway}) {
		t.Errorf("the victim believes that the gateways are at %v, and they are at %s", got, gateway)
	}
	if routes() != 1 {
		t.Error("the attacker's router advertisement made a route")
	}

	h.naive()
	poisoned := []string{h.attackMA.String(), h.attackMA.String()}
	for end := time.Now().Add(10 * time.Second); !slices.Equal(believes(), poisoned) || routes() != 2; {
		// The kernel ignores a second claim within a second of the first (locktime).
		attack()
		h.victims.hears(silence, func(f []byte) bool { return string(f[6:12]) == string(h.attackMA) })
		if time.Now().After(end) {
			t.Fatalf("without the guard the victim believes %v, with %d routes: the test tests nothing", believes(), routes())
		}
	}
	h.defended()
}

// A container in promiscuous mode hears what is for it, and what is for all.
// A bridge that learns addresses can be made to send everything everywhere, by
// teaching it more than it can remember, or one that is in use elsewhere.
func TestContainerDoesNotHearItsNeighbours(t *testing.T) {
	h := newNeighbourhood(t)
	third, ep := h.container(h.n, 4)
	h.serve(third, "udp", "172.30.0.4:53")
	steal := func() {
		// "I am the third": the bridge learns it before any rule for IP can see it.
		h.attackers.send(ether(macOf(h.n.Gateway), ep.MAC, unix.ETH_P_IP, ipv4(ep.Address.Addr(), h.n.Gateway, 9, "me")))
	}
	secret := func() bool {
		question := ether(ep.MAC, h.victimMAC, unix.ETH_P_IP, ipv4(h.victimEP.Address.Addr(), ep.Address.Addr(), 53, "a secret"))
		h.victims.send(question)
		return h.attackers.hears(silence, contains("a secret"))
	}
	steal()
	if secret() {
		t.Error("the attacker hears what the victim says to the third")
	}
	// Nobody is there under this address: a switch asks all its ports.
	unknown := ether(net.HardwareAddr{2, 0, 0, 0, 0, 9}, h.victimMAC, unix.ETH_P_IP, ipv4(h.victimEP.Address.Addr(), netip.MustParseAddr("172.30.0.9"), 9, "a secret"))
	h.victims.send(unknown)
	if h.attackers.hears(silence, contains("a secret")) {
		t.Error("the attacker hears what is for somebody unknown")
	}
	h.answers(h.victim, "udp", "172.30.0.4:53", "172.30.0.2")

	h.naive()
	must(t, netlink.NeighDel(&netlink.Neigh{Family: unix.AF_BRIDGE, LinkIndex: linkByName(t, ep.HostInterface).Attrs().Index, HardwareAddr: ep.MAC, Flags: netlink.NTF_MASTER}))
	steal()
	if !secret() {
		t.Error("without the guard the attacker hears nothing: the test tests nothing")
	}
	h.victims.send(unknown)
	if !h.attackers.hears(5*time.Second, contains("a secret")) {
		t.Error("without the guard the attacker does not hear what is for somebody unknown: the test tests nothing")
	}
}

// A container that is a router for others is not guarded.
func TestRouterIsNotGuarded(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	victim, ep := l.container(n, 2)
	ns, router := newNamespace(t), endpoint(t, n, 3)
	router.Router = true
	must(t, n.Connect(background, ns, router))
	hears, sends := l.tap(victim), l.tap(ns)
	sends.send(ether(ep.MAC, router.MAC, unix.ETH_P_IP, ipv4(netip.MustParseAddr("10.9.8.7"), ep.Address.Addr(), 9, "from afar")))
	if !hears.hears(5*time.Second, contains("from afar")) {
		t.Error("a router does not send for others")
	}
}

// Nor do a router, and a link that somebody plugs into the bridge by hand,
// reach the host's localhost or speak as it.
func TestUnguardedPortsDoNotReachTheHostsLocalhost(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	ears, err := net.ListenPacket("udp4", ":9999")
	must(t, err)
	defer ears.Close()
	gateway, router := newNamespace(t), endpoint(t, n, 2)
	router.Router = true
	must(t, n.Connect(background, gateway, router))
	foreign := newNamespace(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Flags, attrs.MasterIndex = "foreign", net.FlagUp, linkByName(t, n.Bridge).Attrs().Index
	cable := netlink.NewVeth(attrs)
	cable.PeerName, cable.PeerNamespace = "eth0", netlink.NsFd(foreign.Fd())
	must(t, netlink.LinkAdd(cable))
	l.at(foreign, func() { must(t, netlink.LinkSetUp(linkByName(t, "eth0"))) })
	must(t, awaitUp(background, handle(t), netns.None(), linkByName(t, "foreign").Attrs().Index))

	mac := net.HardwareAddr{2, 0xdd, 0xac, 0x1e, 0, 9}
	to := ipv4(netip.MustParseAddr("172.30.0.9"), netip.MustParseAddr("127.0.0.1"), 9999, "open sesame")
	as := ipv4(netip.MustParseAddr("127.0.0.2"), n.Gateway, 9999, "open sesame")
	frames := map[string][]byte{
		"for the host's localhost":             ether(macOf(n.Gateway), mac, unix.ETH_P_IP, to),
		"for it, with a VLAN's tag of no VLAN": ether(macOf(n.Gateway), mac, unix.ETH_P_8021Q, append([]byte{0, 0, 8, 0}, to...)),
		"as the host's localhost":              ether(macOf(n.Gateway), mac, unix.ETH_P_IP, as),
	}
	for who, ns := range map[string]*os.File{"a router": gateway, "a link of somebody else's": foreign} {
		w := l.tap(ns)
		for what, frame := range frames {
			heard := func() bool {
				w.send(frame)
				must(t, ears.SetReadDeadline(time.Now().Add(silence)))
				_, _, err := ears.ReadFrom(make([]byte, 100))
				return err == nil
			}
			if heard() {
				t.Errorf("the host hears what %s sends %s", who, what)
			}
			emptied(t, n, "guard")
			if !heard() {
				t.Errorf("without the guard the host does not hear what %s sends %s: the test tests nothing", who, what)
			}
			must(t, n.Create(background))
		}
	}
}

func TestGuardElementsReadBack(t *testing.T) {
	for _, a := range []string{"172.30.0.2", "fd00::2"} {
		g := guarded{"veth-ac1e0002", net.HardwareAddr{2, 0xdd, 0xac, 0x1e, 0, 2}, netip.MustParseAddr(a)}
		if got, ok := guardedOf(g.key()); !ok || got.port != g.port || got.mac.String() != g.mac.String() || got.address != g.address {
			t.Errorf("%+v reads back as %+v, %v", g, got, ok)
		}
	}
	if g, ok := guardedOf([]byte("veth")); ok {
		t.Errorf("four bytes read as %+v", g)
	}
	if got, want := linkLocal(net.HardwareAddr{2, 0xdd, 0xac, 0x1e, 0, 2}), "fe80::dd:acff:fe1e:2"; got.String() != want {
		t.Errorf("link-local %s, want %s", got, want)
	}
}
