//go:build linux

package networking

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wayOut is the source address under which ns reaches the outside, as its own
// routing table has it.
func (l *lab) wayOut(ns *os.File) (address string) {
	l.t.Helper()
	l.at(ns, func() {
		routes, err := netlink.RouteGet(net.ParseIP(outsideAddress))
		must(l.t, err)
		address = routes[0].Src.String()
	})
	return address
}

// A container is connected to further networks, and taken from them, while it
// runs: its program keeps its sockets, and finds a way out as long as there is one.
func TestRunningContainerIsConnectedToFurtherNetworks(t *testing.T) {
	l := newLab(t)
	n0, n1, n2 := l.create(dualStack(testNetwork(0))), l.network(1), l.network(2)
	ns := newNamespace(t)
	l.serve(ns, "tcp", "[::]:80") // it runs
	l.serve(l.outside, "tcp", "[::]:80")
	first, second, third := endpoint(t, n0, 2), endpoint(t, n1, 2, "18080:80"), endpoint(t, n2, 2)
	third.Metric = 1
	must(t, n0.Connect(background, ns, first))
	must(t, n1.Connect(background, ns, second))
	if first.Interface != "eth0" || second.Interface != "eth1" {
		t.Errorf("the interfaces are %s and %s", first.Interface, second.Interface)
	}
	l.answers(nil, "tcp", "172.30.0.2:80", "172.30.0.1")
	l.answers(nil, "tcp", "172.30.1.2:80", "172.30.1.1")
	if got := l.wayOut(ns); got != "172.30.0.2" {
		t.Errorf("the way out is by %s: the first network's is", got)
	}
	// One that asks for it takes the way out.
	must(t, n2.Connect(background, ns, third))
	if got := l.wayOut(ns); got != "172.30.2.2" || third.Interface != "eth2" {
		t.Errorf("the way out is by %s on %s: the network with metric 1 is to have it", got, third.Interface)
	}
	l.answers(ns, "tcp", outsideAddress+":80", hostAddress)
	// And when it is gone, the next has it, with nobody's help.
	must(t, n2.Disconnect(background, third))
	l.answers(ns, "tcp", outsideAddress+":80", hostAddress)
	must(t, n0.Disconnect(background, first))
	if got := l.wayOut(ns); got != "172.30.1.2" {
		t.Errorf("the way out is by %s: only the second network is left", got)
	}
	l.answers(ns, "tcp", outsideAddress+":80", hostAddress)
	l.answers(l.outside, "tcp", hostAddress+":18080", outsideAddress)
	l.silent(nil, "tcp", "172.30.0.2:80", "it is no longer in that network")
	// The name that became free is taken first.
	must(t, n0.Connect(background, ns, &Endpoint{Address: first.Address, Address6: first.Address6}))
	l.at(ns, func() {
		if !hasLink(t, "eth0") || !hasLink(t, "eth1") || hasLink(t, "eth2") {
			t.Error("the container's links are not eth0 and eth1")
		}
	})
	must(t, n0.Disconnect(background, first))
	must(t, n1.Disconnect(background, second))
}

// Connected to several networks at once, each link gets a name of its own.
func TestNetworksAreConnectedAtTheSameTime(t *testing.T) {
	l := newLab(t)
	ns := newNamespace(t)
	var wg sync.WaitGroup
	names := make(chan string, 4)
	for i := range 4 {
		n := l.network(i)
		ep := endpoint(t, n, 2)
		wg.Go(func() {
			if err := n.Connect(background, ns, ep); err != nil {
				t.Error(err)
			}
			names <- ep.Interface
		})
		t.Cleanup(func() { must(t, n.Disconnect(background, ep)) })
	}
	wg.Wait()
	got := map[string]bool{}
	for range 4 {
		got[<-names] = true
	}
	for i := range 4 {
		if name := fmt.Sprintf("eth%d", i); !got[name] {
			t.Errorf("no link is %s: %v", name, got)
		}
	}
}

// Two engines on one host: each has networks, and publishes the same port on an
// address of its own; what one of them removes is its own.
func TestEnginesSideBySide(t *testing.T) {
	l := newLab(t)
	addAddress(t, "uplink", "192.0.2.9/24")
	var engines []*Network
	for i, address := range []string{hostAddress, "192.0.2.9"} {
		n := l.network(i)
		c, _ := l.container(n, 2, address+":18080:80")
		l.serve(c, "tcp", ":80")
		engines = append(engines, n)
	}
	l.answers(l.outside, "tcp", hostAddress+":18080", outsideAddress)
	l.answers(l.outside, "tcp", "192.0.2.9:18080", outsideAddress)
	must(t, engines[0].Delete(background))
	l.silent(l.outside, "tcp", hostAddress+":18080", "that engine has gone")
	l.answers(l.outside, "tcp", "192.0.2.9:18080", outsideAddress)
	must(t, engines[0].Create(background))

	// A port that one engine holds the other does not get.
	r, err := Reserve(Port{HostPort: 18081, ContainerPort: 80, Protocol: "tcp"})
	must(t, err)
	defer r.Close()
	if _, err := Reserve(Port{HostIP: netip.MustParseAddr("::1"), HostPort: 18081, ContainerPort: 80, Protocol: "tcp"}); !errdefs.IsAlreadyExists(err) {
		t.Errorf("Reserve: %v, want that the port is in use", err)
	}
}

// A bridge of Linux has 1024 ports at most (BR_PORT_BITS).
func TestTwoHundredContainersOnOneBridge(t *testing.T) {
	l := newLab(t)
	n := l.create(dualStack(testNetwork(0)))
	const many = 200
	namespaces := make([]*os.File, many)
	endpoints := make([]*Endpoint, many)
	for i := range many {
		namespaces[i] = newNamespace(t)
		endpoints[i] = endpoint(t, n, byte(i+2), fmt.Sprintf("%d:80", 20000+i))
	}
	began := time.Now()
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := worker; i < many; i += 4 {
				if err := n.Connect(background, namespaces[i], endpoints[i]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d containers connected in %v", many, time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() {
		for worker := range 8 {
			wg.Go(func() {
				for i := worker; i < many; i += 8 {
					if err := n.Disconnect(background, endpoints[i]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if left, err := n.Endpoints(background); err != nil || len(left) != 0 {
			t.Errorf("%d endpoints are left, %v", len(left), err)
		}
	})
	got, err := n.Endpoints(background)
	must(t, err)
	if len(got) != many {
		t.Fatalf("the kernel has %d endpoints", len(got))
	}
	for _, i := range []int{0, many / 2, many - 1} {
		l.serve(namespaces[i], "tcp", "[::]:80")
		port := itoa(uint16(20000 + i))
		l.answers(l.outside, "tcp", at(hostAddress, port), outsideAddress)
		l.answers(l.outside, "tcp", at(hostAddress6, port), outsideAddress6)
		l.answers(namespaces[(i+1)%many], "tcp", at(endpoints[i].Address.Addr().String(), "80"), endpoints[(i+1)%many].Address.Addr().String())
	}
}

// Somebody flushes all rules while datagrams flow in and out. Watch tells the
// engine, which puts them back, and the same sockets go on.
func TestFlushInTheMiddleOfTraffic(t *testing.T) {
	l := newLab(t)
	n := l.create(dualStack(testNetwork(0)))
	c, ep := l.container(n, 2, "18053:53/udp", "18080:80")
	l.serve(c, "udp", "172.30.0.2:53")
	l.serve(c, "tcp", "[::]:80")
	l.serve(l.outside, "udp", outsideAddress+":53")

	ctx, cancel := context.WithCancel(background)
	repaired := make(chan error, 8)
	watching := make(chan error)
	ready := make(chan struct{})
	go func() {
		watching <- watch(ctx, func() { close(ready) }, func() {
			repaired <- errors.Join(n.Create(background), n.Publish(background, ep))
		})
	}()
	defer func() {
		cancel()
		must(t, <-watching)
	}()
	<-ready

	in, out := l.flow(l.outside, hostAddress+":18053"), l.flow(c, outsideAddress+":53")
	in.flows()
	out.flows()
	flush := new(nftables.Conn)
	flush.FlushRuleset()
	must(t, flush.Flush())
	must(t, <-repaired)
	in.flows()
	out.flows()
	l.answers(l.outside, "tcp", at(hostAddress, "18080"), outsideAddress)
	l.answers(l.outside, "tcp", at(hostAddress6, "18080"), outsideAddress6)
	known, err := n.known()
	must(t, err)
	if len(known.ports) != 1 || len(known.guarded) != 3 {
		t.Errorf("the guard knows %v, %v", known.ports, known.guarded)
	}
}

// flow is a UDP socket that sends to a server without a pause, and counts what it answers.
type flow struct {
	t       testing.TB
	answers chan struct{}
}

func (l *lab) flow(from *os.File, to string) *flow {
	l.t.Helper()
	f := &flow{l.t, make(chan struct{}, 1)}
	l.at(from, func() {
		conn, err := net.Dial("udp", to)
		must(l.t, err)
		ended := make(chan struct{}, 2)
		l.t.Cleanup(func() {
			conn.Close()
			<-ended
			<-ended
		})
		go func() {
			defer func() { ended <- struct{}{} }()
			for !errors.Is(writeTo(conn), net.ErrClosed) {
				time.Sleep(2 * time.Millisecond) // the pace of the traffic
			}
		}()
		go func() {
			defer func() { ended <- struct{}{} }()
			for {
				if _, err := conn.Read(make([]byte, 100)); errors.Is(err, net.ErrClosed) {
					return
				} else if err != nil {
					continue // refused, while nobody translates
				}
				select {
				case f.answers <- struct{}{}:
				default:
				}
			}
		}()
	})
	return f
}

func writeTo(conn net.Conn) error {
	_, err := conn.Write([]byte("?"))
	return err
}

// flows waits for answers that came after the call.
func (f *flow) flows() {
	f.t.Helper()
	for range 3 {
		select {
		case <-f.answers:
		case <-time.After(10 * time.Second):
			f.t.Fatal("the flow has dried up")
		}
	}
}

// An engine that starts again does Create and Publish over what there is. A
// connection that carries data meanwhile does not notice.
func TestRestartInTheMiddleOfTraffic(t *testing.T) {
	l := newLab(t)
	n := l.create(dualStack(testNetwork(0)))
	c, ep := l.container(n, 2, "18080:80")
	var server net.Listener
	l.at(c, func() {
		var err error
		server, err = net.Listen("tcp", "[::]:80")
		must(t, err)
	})
	defer server.Close()
	for _, host := range []string{hostAddress, hostAddress6} {
		var client net.Conn
		l.at(l.outside, func() {
			var err error
			client, err = net.DialTimeout("tcp", at(host, "18080"), 5*time.Second)
			must(t, err)
		})
		accepted, err := server.Accept()
		must(t, err)
		restarts := make(chan error, 1)
		go func() {
			var errs []error
			for range 5 {
				again := *n
				_, err := again.Endpoints(background)
				errs = append(errs, again.Create(background), again.Publish(background, ep), err)
			}
			restarts <- errors.Join(errs...)
		}()
		// Each block is sent, echoed and compared, until the restarts are over and some more.
		go func() {
			defer accepted.Close()
			buf := make([]byte, 1<<16)
			for {
				n, err := accepted.Read(buf)
				if err != nil {
					return
				}
				if _, err := accepted.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
		client.SetDeadline(time.Now().Add(20 * time.Second))
		block, back := make([]byte, 1<<14), make([]byte, 1<<14)
		for over, i := false, 0; !over; i++ {
			select {
			case err := <-restarts:
				must(t, err)
				over = true
			default:
			}
			for j := range block {
				block[j] = byte(i + j)
			}
			_, err := client.Write(block)
			must(t, err)
			_, err = io.ReadFull(client, back)
			must(t, err)
			if string(back) != string(block) {
				t.Fatal("the stream is not what it was")
			}
		}
		client.Close()
	}
}

// Somebody removes the bridge: Create plugs the cables in again.
func TestCreateReplugsAfterTheBridgeWasRemoved(t *testing.T) {
	l := newLab(t)
	n := l.create(dualStack(testNetwork(0)))
	a, epA := l.container(n, 2, "18080:80")
	b, epB := l.container(n, 3)
	l.serve(a, "tcp", "[::]:80")
	must(t, netlink.LinkDel(linkByName(t, "dd0")))
	l.silent(b, "tcp", "172.30.0.2:80", "there is no bridge")
	must(t, n.Create(background))
	must(t, n.Publish(background, epA))
	must(t, n.Publish(background, epB))
	l.answers(b, "tcp", "172.30.0.2:80", "172.30.0.3")
	l.answers(b, "tcp", "[fd00:30::2]:80", "fd00:30::3")
	l.answers(l.outside, "tcp", hostAddress+":18080", outsideAddress)
	port, err := netlink.LinkGetProtinfo(linkByName(t, epA.HostInterface))
	must(t, err)
	if port.Learning || port.Flood {
		t.Errorf("the port has lost its guard: %s", port.String())
	}
}

// The network of another container: who joins it sees the same links and ports.
func TestNetworkOfAnotherContainer(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	c, _ := l.container(n, 2)
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), c.Fd())
	joined, err := os.Open(path)
	must(t, err)
	defer joined.Close()
	l.serve(joined, "tcp", "127.0.0.1:8080")
	l.answers(c, "tcp", "127.0.0.1:8080", "127.0.0.1")
	var one, other unix.Stat_t
	must(t, unix.Fstat(int(c.Fd()), &one))
	must(t, unix.Fstat(int(joined.Fd()), &other))
	if one.Ino != other.Ino {
		t.Error("the path leads to another namespace")
	}
}
