//go:build linux

package networking

import (
	"net"
	"net/netip"
	"strconv"
	"testing"

	"github.com/containerd/errdefs"
)

// A reserved port is nobody else's, also when the kernel chose it, and refuses
// connections; it is free again when the reservation is closed.
func TestReserve(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.1")
	for _, protocol := range []string{"tcp", "udp"} {
		chosen, err := Reserve(Port{HostIP: local, ContainerPort: 80, Protocol: protocol})
		if err != nil {
			t.Fatal(err)
		}
		p := chosen.Port
		if p.HostPort == 0 {
			t.Fatalf("%s: no port was chosen", protocol)
		}
		for range 2 {
			if _, err := Reserve(p); !errdefs.IsAlreadyExists(err) {
				t.Errorf("%s: the port is reserved twice: %v", protocol, err)
			}
			address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(p.HostPort)))
			if protocol == "tcp" {
				if l, err := net.Listen("tcp", address); err == nil {
					l.Close()
					t.Error("another program listens on the port")
				}
				if c, err := net.Dial("tcp", address); err == nil {
					c.Close()
					t.Error("the port takes a connection")
				}
			}
			if err := chosen.Close(); err != nil {
				t.Fatal(err)
			}
			// And the same with a port that is named.
			if chosen, err = Reserve(p); err != nil {
				t.Fatalf("%s: the port is not free again: %v", protocol, err)
			}
		}
		chosen.Close()
	}
}
