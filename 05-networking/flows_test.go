//go:build linux

package networking

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tracks counts the UDP flows that the host tracks to a port, and those that a
// server on the port began.
func tracks(t *testing.T, port uint16) (count int) {
	t.Helper()
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		all, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
		must(t, err)
		for _, f := range all {
			if f.Forward.Protocol == unix.IPPROTO_UDP && (f.Forward.DstPort == port || f.Forward.SrcPort == port) {
				count++
			}
		}
	}
	return count
}

// Both ways to forget flows take the flows to these ports, and no others.
func TestForgetDatagrams(t *testing.T) {
	l := newLab(t)
	l.create(dualStack(testNetwork(0))) // without rules nothing is tracked
	send := func() {
		for _, host := range []string{outsideAddress, outsideAddress6} {
			for _, port := range []string{"5001", "5002"} {
				for _, from := range []string{":0", ":" + port} {
					local, err := net.ResolveUDPAddr("udp", from)
					must(t, err)
					// A server on the port answers somebody's port 9.
					to := at(host, port)
					if from != ":0" {
						to = at(host, "9")
					}
					conn, err := (&net.Dialer{LocalAddr: local}).Dial("udp", to)
					must(t, err)
					must(t, writeTo(conn))
					conn.Close()
				}
			}
		}
	}
	for name, forget := range map[string]func([]uint16, ...byte) error{"in the kernel": forgetInKernel, "one by one": forgetOneByOne} {
		send()
		if tracks(t, 5001) != 4 || tracks(t, 5002) != 4 {
			t.Fatalf("%d and %d flows are tracked, want 4 and 4", tracks(t, 5001), tracks(t, 5002))
		}
		if err := forget([]uint16{5001}, unix.AF_INET, unix.AF_INET6); err == unix.EINVAL && name == "in the kernel" {
			t.Log("this kernel is older than 6.10, and forgets one by one")
			continue
		} else if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if tracks(t, 5001) != 0 || tracks(t, 5002) != 4 {
			t.Errorf("%s: %d flows to the port are left, and %d of the other's four", name, tracks(t, 5001), tracks(t, 5002))
		}
		must(t, forgetOneByOne([]uint16{5002}, unix.AF_INET, unix.AF_INET6))
	}
}

func BenchmarkForgetDatagrams(b *testing.B) {
	n := testNetwork(0)
	must(b, n.Create(background))
	defer n.Delete(background)
	conn, err := net.Dial("udp", "172.30.0.9:9") // one flow: an empty table is not even looked at
	must(b, err)
	must(b, writeTo(conn))
	conn.Close()
	for name, forget := range map[string]func([]uint16, ...byte) error{"in the kernel": forgetInKernel, "one by one": forgetOneByOne} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				must(b, forget([]uint16{5001}, unix.AF_INET, unix.AF_INET6))
			}
		})
	}
}

// BenchmarkConnect is what a container waits for its network. The bar is 5 ms.
func BenchmarkConnect(b *testing.B) {
	port := func(protocol string) []Port { return []Port{{HostPort: 18080, ContainerPort: 80, Protocol: protocol}} }
	for _, c := range []struct {
		name  string
		n     *Network
		ports []Port
	}{
		{"IPv4", testNetwork(0), nil},
		{"IPv4 and IPv6", dualStack(testNetwork(1)), nil},
		{"IPv4 and IPv6, TCP port", dualStack(testNetwork(2)), port("tcp")},
		{"IPv4 and IPv6, UDP port", dualStack(testNetwork(3)), port("udp")},
	} {
		b.Run(c.name, func(b *testing.B) {
			must(b, c.n.Create(background))
			defer c.n.Delete(background)
			for b.Loop() {
				b.StopTimer()
				ns, err := NewNamespace(background)
				must(b, err)
				ep := &Endpoint{Address: netip.PrefixFrom(c.n.Gateway.Next(), c.n.Subnet.Bits()), Ports: c.ports}
				if c.n.Subnet6.IsValid() {
					ep.Address6 = netip.PrefixFrom(c.n.Gateway6.Next(), c.n.Subnet6.Bits())
				}
				b.StartTimer()
				must(b, c.n.Connect(background, ns, ep))
				b.StopTimer()
				must(b, c.n.Disconnect(background, ep))
				ns.Close()
				b.StartTimer()
			}
		})
	}
}
