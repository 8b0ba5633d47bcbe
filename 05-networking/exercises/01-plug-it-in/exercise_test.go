//go:build linux && (exercise || solution)

package plugitin

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	networking "drydock.example/05-networking"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestPlug(t *testing.T) {
	hosttest.Require(t, hosttest.Bridge)
	n := &networking.Network{
		Name: "exercise", Bridge: "exercise0",
		Subnet: netip.MustParsePrefix("172.30.9.0/24"), Gateway: netip.MustParseAddr("172.30.9.1"),
	}
	if err := n.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer n.Delete(t.Context())
	ns, err := networking.NewNamespace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	defer func() {
		if l, err := netlink.LinkByName("cable0"); err == nil {
			netlink.LinkDel(l)
		}
	}()
	address := netip.MustParsePrefix("172.30.9.2/24")
	if err := Plug(ns, "exercise0", address); err != nil {
		t.Fatalf("Plug: %v", err)
	}

	bridge, err := netlink.LinkByName("exercise0")
	if err != nil {
		t.Fatal(err)
	}
	if l, err := netlink.LinkByName("cable0"); err != nil {
		t.Error("the host has no link cable0: did both ends go into the namespace?")
	} else if l.Attrs().MasterIndex != bridge.Attrs().Index {
		t.Error("cable0 is there and leads nowhere: it is no port of the bridge")
	} else if l.Attrs().Flags&net.FlagUp == 0 {
		t.Error("cable0 is switched off")
	}
	if _, err := netlink.LinkByName("eth0"); err == nil {
		t.Error("the host has a link eth0: the far end is still here")
	}
	inside, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	eth0, err := inside.LinkByName("eth0")
	if err != nil {
		t.Fatal("the namespace has no link eth0")
	}
	if eth0.Attrs().Flags&net.FlagUp == 0 {
		t.Error("eth0 is switched off")
	}
	if as, _ := inside.AddrList(eth0, netlink.FAMILY_V4); len(as) != 1 || as[0].IPNet.String() != address.String() {
		t.Errorf("eth0 has the addresses %v, want %s", as, address)
	}
	if t.Failed() {
		return
	}
	// Nobody listens: the refusal is the container's answer, over the cable.
	conn, err := net.DialTimeout("tcp4", "172.30.9.2:80", 5*time.Second)
	if err == nil {
		conn.Close()
	} else if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Error("the container does not answer: ask `ip addr` on both sides")
	}
}
