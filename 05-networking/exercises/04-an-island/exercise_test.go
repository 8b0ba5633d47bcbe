//go:build linux && (exercise || solution)

package anisland

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	networking "drydock.example/05-networking"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

const (
	patience = 5 * time.Second
	silence  = 200 * time.Millisecond
)

func TestIsolate(t *testing.T) {
	hosttest.Require(t, hosttest.Bridge)
	try(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))
	bridge(t, 1)
	bridge(t, 2)
	islander, friend, stranger := container(t, 1, 2), container(t, 1, 3), container(t, 2, 2)
	if !reaches(t, stranger, "172.31.1.2", patience) {
		t.Fatal("nobody is isolated in the first place: the test would show nothing")
	}
	defer removeTable()
	if err := Isolate("island1"); err != nil {
		t.Fatalf("Isolate: %v", err)
	}
	if reaches(t, stranger, "172.31.1.2", silence) {
		t.Error("a container on the other bridge still reaches the island")
	}
	if !reaches(t, islander, "172.31.2.2", patience) {
		t.Error("the island does not reach the other bridge: are the answers let in?")
	}
	if !reaches(t, friend, "172.31.1.2", patience) {
		t.Error("two neighbours on the island do not reach each other any more")
	}
	if !reaches(t, nil, "172.31.1.2", patience) {
		t.Error("the host does not reach the island any more: what it sends itself passes another hook")
	}
	bridge(t, 3)
	newcomer, other := container(t, 3, 2), container(t, 2, 3)
	if !reaches(t, newcomer, "172.31.2.2", patience) || !reaches(t, other, "172.31.3.2", patience) {
		t.Error("two other bridges do not reach each other any more: the rules drop what is not for the island")
	}
	if reaches(t, newcomer, "172.31.1.2", silence) {
		t.Error("a container on a bridge that was made later reaches the island: do the rules name the bridges that they keep out?")
	}
}

// bridge makes the bridge islandN with the host's address 172.31.N.1, and no rules.
func bridge(t *testing.T, number int) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Flags = fmt.Sprint("island", number), net.FlagUp
	link := &netlink.Bridge{LinkAttrs: attrs}
	try(t, netlink.LinkAdd(link))
	t.Cleanup(func() { netlink.LinkDel(link) })
	a, err := netlink.ParseAddr(fmt.Sprintf("172.31.%d.1/24", number))
	try(t, err)
	try(t, netlink.AddrAdd(link, a))
}

// container plugs in a namespace that listens on port 80.
func container(t *testing.T, number, host int) *os.File {
	ns, err := networking.NewNamespace(t.Context())
	try(t, err)
	t.Cleanup(func() { ns.Close() })
	master, err := netlink.LinkByName(fmt.Sprint("island", number))
	try(t, err)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex, attrs.Flags = fmt.Sprintf("cable%d-%d", number, host), master.Attrs().Index, net.FlagUp
	cable := netlink.NewVeth(attrs)
	cable.PeerName, cable.PeerNamespace = "eth0", netlink.NsFd(ns.Fd())
	try(t, netlink.LinkAdd(cable))
	t.Cleanup(func() { netlink.LinkDel(cable) })
	inside, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
	try(t, err)
	defer inside.Close()
	eth0, err := inside.LinkByName("eth0")
	try(t, err)
	a, err := netlink.ParseAddr(fmt.Sprintf("172.31.%d.%d/24", number, host))
	try(t, err)
	try(t, inside.AddrAdd(eth0, a))
	try(t, inside.LinkSetUp(eth0))
	try(t, inside.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: net.IPv4(172, 31, byte(number), 1)}))
	within(t, ns, func() {
		l, err := net.Listen("tcp4", ":80")
		try(t, err)
		t.Cleanup(func() { l.Close() })
	})
	return ns
}

func reaches(t *testing.T, ns *os.File, ip string, patience time.Duration) (ok bool) {
	within(t, ns, func() {
		conn, err := net.DialTimeout("tcp4", ip+":80", patience)
		if ok = err == nil; ok {
			conn.Close()
		}
	})
	return ok
}

// within runs f in ns, or where the test is for nil.
func within(t *testing.T, ns *os.File, f func()) {
	if ns == nil {
		f()
		return
	}
	runtime.LockOSThread()
	host, err := os.Open("/proc/thread-self/ns/net")
	try(t, err)
	defer host.Close()
	try(t, unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET))
	f()
	try(t, unix.Setns(int(host.Fd()), unix.CLONE_NEWNET))
	runtime.UnlockOSThread()
}

func removeTable() {
	c := new(nftables.Conn)
	c.DelTable(&nftables.Table{Name: "exercise", Family: nftables.TableFamilyIPv4})
	c.Flush()
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
