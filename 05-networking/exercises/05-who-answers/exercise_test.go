//go:build linux && (exercise || solution)

package whoanswers

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	networking "drydock.example/05-networking"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestAnswers(t *testing.T) {
	hosttest.Require(t, hosttest.Bridge)
	n := &networking.Network{
		Name: "exercise", Bridge: "exercise0",
		Subnet: netip.MustParsePrefix("172.30.9.0/24"), Gateway: netip.MustParseAddr("172.30.9.1"),
	}
	try(t, n.Create(t.Context()))
	defer n.Delete(context.Background())
	containers := []*os.File{container(t, n, 2, "18080:8080"), container(t, n, 3, "18081:8080")}

	for _, test := range []struct {
		from    int // the container that asks; -1: the host
		address string
		want    string
		what    string
	}{
		{-1, "172.30.9.1:18080", "172.30.9.2:8080", "a published port, by an address of the host"},
		{-1, "172.30.9.1:18081", "172.30.9.3:8080", "the other container's"},
		{-1, "127.0.0.1:18080", "172.30.9.2:8080", "by localhost, where the client's address is translated too"},
		{1, "172.30.9.1:18080", "172.30.9.2:8080", "a neighbour, over the host and back"},
		{-1, "172.30.9.2:8080", "172.30.9.2:8080", "the container itself: nobody translates"},
	} {
		conn := dial(t, containers, test.from, test.address)
		client, server := conn.LocalAddr().(*net.TCPAddr).AddrPort(), conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		got, err := Answers(client, server)
		if err != nil {
			t.Errorf("%s: Answers: %v", test.what, err)
		} else if got == server && test.want != test.address {
			t.Errorf("%s: %s: that is where the client wrote to, and the kernel translates it", test.what, got)
		} else if got.String() != test.want {
			t.Errorf("%s: %s, want %s", test.what, got, test.want)
		}
		conn.Close()
	}
	if got, err := Answers(netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:18080")); err == nil {
		t.Errorf("a connection that there is not ends at %s: is it told by the client's port too?", got)
	}
}

func container(t *testing.T, n *networking.Network, host int, publish string) *os.File {
	ns, err := networking.NewNamespace(t.Context())
	try(t, err)
	t.Cleanup(func() { ns.Close() })
	ports, err := networking.ParsePort(publish)
	try(t, err)
	ep := &networking.Endpoint{Address: netip.MustParsePrefix(fmt.Sprintf("172.30.9.%d/24", host)), Ports: ports}
	try(t, n.Connect(t.Context(), ns, ep))
	t.Cleanup(func() { n.Disconnect(context.Background(), ep) })
	within(t, ns, func() {
		l, err := net.Listen("tcp4", ":8080")
		try(t, err)
		t.Cleanup(func() { l.Close() })
	})
	return ns
}

func dial(t *testing.T, containers []*os.File, from int, address string) (conn net.Conn) {
	t.Helper()
	try := func() {
		var err error
		if conn, err = net.DialTimeout("tcp4", address, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if from < 0 {
		try()
	} else {
		within(t, containers[from], try)
	}
	return conn
}

// within runs f on a thread that is in ns and comes back.
func within(t *testing.T, ns *os.File, f func()) {
	t.Helper()
	runtime.LockOSThread()
	host, err := os.Open("/proc/thread-self/ns/net")
	try(t, err)
	defer host.Close()
	try(t, unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET))
	f()
	try(t, unix.Setns(int(host.Fd()), unix.CLONE_NEWNET))
	runtime.UnlockOSThread()
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
