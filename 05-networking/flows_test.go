//go:build linux

package networking

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// flowsTo counts the UDP flows that the host tracks to a port.
func flowsTo(t *testing.T, port uint16) (count int) {
	t.Helper()
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		all, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
		must(t, err)
		for _, f := range all {
			if f.Forward.Protocol == unix.IPPROTO_UDP && f.Forward.DstPort == port {
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
				conn, err := net.Dial("udp", at(host, port))
				must(t, err)
				must(t, writeTo(conn))
				conn.Close()
			}
		}
	}
	for name, forget := range map[string]func([]uint16, ...byte) error{"in the kernel": forgetInKernel, "one by one": forgetOneByOne} {
		send()
		if flowsTo(t, 5001) != 2 || flowsTo(t, 5002) != 2 {
			t.Fatalf("%d and %d flows are tracked, want 2 and 2", flowsTo(t, 5001), flowsTo(t, 5002))
		}
		if err := forget([]uint16{5001}, unix.AF_INET, unix.AF_INET6); err == unix.EINVAL && name == "in the kernel" {
			t.Log("this kernel is older than 6.10, and forgets one by one")
			continue
		} else if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if flowsTo(t, 5001) != 0 || flowsTo(t, 5002) != 2 {
			t.Errorf("%s: %d flows to the port are left, and %d of the other's two", name, flowsTo(t, 5001), flowsTo(t, 5002))
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
