//go:build linux && (exercise || solution)

package acloseddoor

import (
	"context"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	networking "drydock.example/05-networking"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"net"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

const (
	metadata = "169.254.169.254"
	other    = "192.0.2.2"
)

func TestClose(t *testing.T) {
	hosttest.Require(t, hosttest.Bridge)
	outside := newNamespace(t)
	cloud(t, outside)
	n := &networking.Network{
		Name: "exercise", Bridge: "exercise0",
		Subnet: netip.MustParsePrefix("172.30.9.0/24"), Gateway: netip.MustParseAddr("172.30.9.1"),
	}
	if err := n.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer n.Delete(context.Background())
	container := newNamespace(t)
	ep := &networking.Endpoint{Address: netip.MustParsePrefix("172.30.9.2/24")}
	if err := n.Connect(t.Context(), container, ep); err != nil {
		t.Fatal(err)
	}
	defer n.Disconnect(context.Background(), ep)
	defer removeTable()

	if !reaches(t, container, metadata, 5*time.Second) {
		t.Fatal("the container does not reach the metadata service in the first place")
	}
	if err := Close("exercise0", netip.MustParseAddr(metadata)); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if reaches(t, container, metadata, 200*time.Millisecond) {
		t.Errorf("a container still reaches %s: does the rule stand at the hook that its packets pass?", metadata)
	}
	if !reaches(t, container, other, 5*time.Second) {
		t.Errorf("a container does not reach %s any more: the rule drops too much", other)
	}
	if !reaches(t, nil, metadata, 5*time.Second) {
		t.Errorf("the host itself does not reach %s any more: what it sends passes another hook", metadata)
	}
}

func newNamespace(t *testing.T) *os.File {
	ns, err := networking.NewNamespace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// cloud joins the host to ns, in which the metadata service and another server are.
func cloud(t *testing.T, ns *os.File) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Flags = "uplink", net.FlagUp
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerNamespace = "eth0", netlink.NsFd(ns.Fd())
	try(t, netlink.LinkAdd(pair))
	t.Cleanup(func() { netlink.LinkDel(pair) })
	for _, a := range []string{"192.0.2.1/24", "169.254.169.1/24"} {
		address(t, pair, a)
	}
	within(t, ns, func() {
		eth0, err := netlink.LinkByName("eth0")
		try(t, err)
		address(t, eth0, other+"/24")
		address(t, eth0, metadata+"/24")
		try(t, netlink.LinkSetUp(eth0))
		l, err := net.Listen("tcp4", ":80")
		try(t, err)
		t.Cleanup(func() { l.Close() })
	})
}

func address(t *testing.T, l netlink.Link, s string) {
	a, err := netlink.ParseAddr(s)
	try(t, err)
	try(t, netlink.AddrAdd(l, a))
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
