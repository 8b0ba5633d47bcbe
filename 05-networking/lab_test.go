//go:build linux

package networking

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

var background = context.Background()

// lab is the host, which is the network namespace of the tests, and one other
// host beside it, joined to it by a veth pair.
type lab struct {
	t       testing.TB
	outside *os.File
}

const (
	hostAddress    = "192.0.2.1"
	outsideAddress = "192.0.2.2"
	// The same two in IPv6 (RFC 3849).
	hostAddress6    = "2001:db8::1"
	outsideAddress6 = "2001:db8::2"
)

// silence is how long a test waits to call a connection dropped. A drop has no
// event to wait for.
const silence = 150 * time.Millisecond

func newLab(t testing.TB) *lab {
	t.Helper()
	hosttest.Require(t, hosttest.Bridge)
	l := &lab{t: t, outside: newNamespace(t)}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Flags = "uplink", net.FlagUp
	cable := netlink.NewVeth(attrs)
	cable.PeerName, cable.PeerNamespace = "eth0", netlink.NsFd(l.outside.Fd())
	must(t, netlink.LinkAdd(cable))
	t.Cleanup(func() { must(t, netlink.LinkDel(cable)) })
	addAddress(t, "uplink", hostAddress+"/24")
	addAddress(t, "uplink", hostAddress6+"/64")
	l.at(l.outside, func() {
		link := linkByName(t, "eth0")
		addAddress(t, "eth0", outsideAddress+"/24")
		addAddress(t, "eth0", outsideAddress6+"/64")
		must(t, netlink.LinkSetUp(link))
		must(t, awaitUp(background, handle(t), netns.None(), link.Attrs().Index))
	})
	must(t, awaitUp(background, handle(t), netns.None(), linkByName(t, "uplink").Attrs().Index))
	return l
}

func newNamespace(t testing.TB) *os.File {
	t.Helper()
	ns, err := NewNamespace(background)
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	return ns
}

// network makes network number i, 172.30.i.0/24 on bridge ddi, which goes with
// the test.
func (l *lab) network(i int) *Network {
	l.t.Helper()
	return l.create(testNetwork(i))
}

func (l *lab) create(n *Network) *Network {
	l.t.Helper()
	must(l.t, n.Create(background))
	l.t.Cleanup(func() { must(l.t, n.Delete(background)) })
	return n
}

// dualStack gives network number i of testNetwork fd00:30:i::/64 as well.
func dualStack(n *Network) *Network {
	i := n.Subnet.Addr().As4()[2]
	n.Subnet6 = netip.MustParsePrefix(fmt.Sprintf("fd00:30:%d::/64", i))
	n.Gateway6 = n.Subnet6.Addr().Next()
	return n
}

func testNetwork(i int) *Network {
	return &Network{
		Name:    fmt.Sprintf("net%d", i),
		Bridge:  fmt.Sprintf("dd%d", i),
		Subnet:  netip.MustParsePrefix(fmt.Sprintf("172.30.%d.0/24", i)),
		Gateway: netip.MustParseAddr(fmt.Sprintf("172.30.%d.1", i)),
	}
}

// container plugs a namespace into n as host number host of its subnet.
func (l *lab) container(n *Network, host byte, ports ...string) (*os.File, *Endpoint) {
	l.t.Helper()
	ns, ep := newNamespace(l.t), endpoint(l.t, n, host, ports...)
	must(l.t, n.Connect(background, ns, ep))
	l.t.Cleanup(func() { must(l.t, n.Disconnect(background, ep)) })
	return ns, ep
}

func endpoint(t testing.TB, n *Network, host byte, ports ...string) *Endpoint {
	t.Helper()
	a := n.Subnet.Addr().As4()
	a[3] = host
	ep := &Endpoint{Address: netip.PrefixFrom(netip.AddrFrom4(a), n.Subnet.Bits())}
	if n.Subnet6.IsValid() {
		a := n.Subnet6.Addr().As16()
		a[15] = host
		ep.Address6 = netip.PrefixFrom(netip.AddrFrom16(a), n.Subnet6.Bits())
	}
	for _, s := range ports {
		p, err := ParsePort(s)
		must(t, err)
		ep.Ports = append(ep.Ports, p...)
	}
	return ep
}

// at runs f on a thread that is in ns; nil is the host. A socket belongs to
// the namespace in which it is made, wherever it is used.
func (l *lab) at(ns *os.File, f func()) {
	l.t.Helper()
	if ns == nil {
		f()
		return
	}
	done := make(chan error, 1)
	go func() {
		defer close(done) // also when f ends its goroutine, by t.Fatal
		done <- within(ns, f)
	}()
	must(l.t, <-done)
}

// within takes a goroutine of its own: where the way back fails, its thread
// ends with it.
func within(ns *os.File, f func()) error {
	runtime.LockOSThread()
	host, err := os.Open(threadNamespace)
	if err != nil {
		return err
	}
	defer host.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	defer func() {
		if unix.Setns(int(host.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	f()
	return nil
}

// serve answers every TCP connection to address in ns with the client's
// address as the server sees it, and every datagram too.
func (l *lab) serve(ns *os.File, network, address string) (server io.Closer) {
	l.t.Helper()
	l.at(ns, func() {
		if network == "udp" {
			conn, err := net.ListenPacket("udp", address)
			must(l.t, err)
			server = conn
			l.t.Cleanup(func() { conn.Close() })
			go func() {
				buf := make([]byte, 1500)
				for {
					_, from, err := conn.ReadFrom(buf)
					if err != nil {
						return
					}
					conn.WriteTo([]byte(from.String()), from)
				}
			}()
			return
		}
		ln, err := net.Listen("tcp", address)
		must(l.t, err)
		server = ln
		l.t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				io.WriteString(conn, conn.RemoteAddr().String())
				conn.Close()
			}
		}()
	})
	return server
}

// ask connects from ns to address and returns the client's IP address as the
// server saw it.
func (l *lab) ask(ns *os.File, network, address string, timeout time.Duration) (seen string, err error) {
	l.t.Helper()
	l.at(ns, func() {
		var conn net.Conn
		if conn, err = net.DialTimeout(network, address, timeout); err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(timeout))
		if network == "udp" {
			if _, err = conn.Write([]byte("?")); err != nil {
				return
			}
		}
		buf := make([]byte, 100)
		var n int
		n, err = conn.Read(buf)
		if from, e := netip.ParseAddrPort(string(buf[:n])); e == nil {
			seen = from.Addr().Unmap().String()
		}
	})
	return seen, err
}

// answers checks that address answers from ns and sees the source.
func (l *lab) answers(ns *os.File, network, address, source string) {
	l.t.Helper()
	seen, err := l.ask(ns, network, address, 5*time.Second)
	if err != nil {
		l.t.Errorf("%s %s: %v", network, address, err)
	} else if source != "" && seen != source {
		l.t.Errorf("%s %s sees the client as %s, want %s", network, address, seen, source)
	}
}

// silent checks that nobody answers on address.
func (l *lab) silent(ns *os.File, network, address, why string) {
	l.t.Helper()
	if seen, err := l.ask(ns, network, address, silence); err == nil {
		l.t.Errorf("%s %s answers (and sees %s): %s", network, address, seen, why)
	}
}

// handle returns a netlink socket of the calling thread's namespace.
func handle(t testing.TB) *netlink.Handle {
	t.Helper()
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	must(t, err)
	t.Cleanup(h.Close)
	return h
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func linkByName(t testing.TB, name string) netlink.Link {
	t.Helper()
	link, err := netlink.LinkByName(name)
	must(t, err)
	return link
}

func addAddress(t testing.TB, link, address string) {
	t.Helper()
	must(t, netlink.AddrAdd(linkByName(t, link), addrOf(netip.MustParsePrefix(address))))
}

func hasLink(t testing.TB, name string) bool {
	t.Helper()
	_, err := netlink.LinkByName(name)
	if err != nil && !errors.As(err, new(netlink.LinkNotFoundError)) {
		t.Fatal(err)
	}
	return err == nil
}

// recorder keeps what --explain would show.
type recorder struct {
	mu       sync.Mutex
	messages []string
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *recorder) WithGroup(string) slog.Handler            { return r }

func (r *recorder) Handle(_ context.Context, rec slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, rec.Message)
	return nil
}

func (r *recorder) has(part string) bool {
	return slices.ContainsFunc(r.messages, func(m string) bool { return strings.Contains(m, part) })
}

func itoa(port uint16) string { return strconv.Itoa(int(port)) }

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	must(t, err)
	return string(b)
}
