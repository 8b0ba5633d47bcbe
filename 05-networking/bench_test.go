//go:build linux

package networking

import (
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// path is a connection over one of the ways that are compared.
type path struct {
	name string
	conn net.Conn
	best time.Duration // of all rounds: what else the machine does is not in it
}

// BenchmarkPaths compares, in one run and by turns, what the bridge, the rules and the
// translation cost beside plain cables with the same number of links between: from the
// host into a namespace (one pair), and from another host through this one (two).
// The figures are ratios to the plain cables: 1.1 is 10 % more time.
func BenchmarkPaths(b *testing.B) {
	for _, hops := range []int{1, 2} {
		for name, work := range map[string]func(net.Conn) error{"throughput": megabytes, "latency": pings} {
			b.Run(map[int]string{1: "from the host", 2: "from another host"}[hops]+"/"+name, func(b *testing.B) {
				paths := newPaths(b, hops)
				for b.Loop() {
					for _, p := range paths {
						began := time.Now()
						must(b, work(p.conn))
						if spent := time.Since(began); p.best == 0 || spent < p.best {
							p.best = spent
						}
					}
				}
				for _, p := range paths[1:] {
					b.ReportMetric(float64(p.best)/float64(paths[0].best), p.name+"/plain")
				}
			})
		}
	}
}

const megabyte = 1 << 20

// The server of a path answers each megabyte, and each single byte, with a byte.
func megabytes(c net.Conn) error {
	block := make([]byte, megabyte)
	for range 8 {
		block[0] = 'M'
		if _, err := c.Write(block); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, block[:1]); err != nil {
			return err
		}
	}
	return nil
}

func pings(c net.Conn) error {
	one := make([]byte, 1)
	for range 200 {
		one[0] = 'p'
		if _, err := c.Write(one); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, one); err != nil {
			return err
		}
	}
	return nil
}

func answerBlocks(c net.Conn) {
	defer c.Close()
	block := make([]byte, megabyte)
	for {
		if _, err := io.ReadFull(c, block[:1]); err != nil {
			return
		}
		if block[0] == 'M' {
			if _, err := io.ReadFull(c, block[1:]); err != nil {
				return
			}
		}
		if _, err := c.Write(block[:1]); err != nil {
			return
		}
	}
}

// newPaths lays the cables. The first path is the plain one.
func newPaths(b *testing.B, hops int) []*path {
	l := newLab(b)
	n := l.network(0)
	c, _ := l.container(n, 2, "18080:80")
	l.echo(c)
	plain := newNamespace(b)
	l.cable(plain, "plain0", "198.51.100.1/24", "198.51.100.2/24")
	l.echo(plain)
	from := map[int]*os.File{1: nil, 2: l.outside}[hops]
	dial := func(name, address string) *path {
		p := &path{name: name}
		l.at(from, func() {
			var err error
			// A program that was started a moment ago may not listen yet.
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
				if p.conn, err = net.DialTimeout("tcp", address, 5*time.Second); err == nil || time.Now().After(end) {
					break
				}
			}
			must(b, err)
		})
		b.Cleanup(func() { p.conn.Close() })
		must(b, pings(p.conn))
		return p
	}
	if hops == 2 {
		l.at(l.outside, func() {
			must(b, netlink.RouteAdd(&netlink.Route{LinkIndex: linkByName(b, "eth0").Attrs().Index,
				Dst: ipNet(netip.MustParsePrefix("198.51.100.0/24")), Gw: net.ParseIP(hostAddress)}))
		})
	}
	paths := []*path{dial("plain", "198.51.100.2:80"), dial("published", hostAddress+":18080")}
	// What Docker has for each port where the rules do not translate, and for each
	// connection from localhost with some of its settings.
	if proxy, err := exec.LookPath("docker-proxy"); err == nil {
		cmd := exec.Command(proxy, "-proto", "tcp", "-host-ip", hostAddress, "-host-port", "18081", "-container-ip", "172.30.0.2", "-container-port", "80")
		// It tells its parent by descriptor 3 that it listens.
		read, write, err := os.Pipe()
		must(b, err)
		cmd.ExtraFiles = []*os.File{write}
		must(b, cmd.Start())
		write.Close()
		b.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
			read.Close()
		})
		paths = append(paths, dial("docker-proxy", hostAddress+":18081"))
	} else {
		b.Log("docker-proxy is not installed: it is not compared")
	}
	return paths
}

// cable lays a plain veth pair into ns.
func (l *lab) cable(ns *os.File, name, near, far string) {
	l.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Flags = name, net.FlagUp
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerNamespace = "eth0", netlink.NsFd(ns.Fd())
	must(l.t, netlink.LinkAdd(pair))
	l.t.Cleanup(func() { must(l.t, netlink.LinkDel(pair)) })
	addAddress(l.t, name, near)
	l.at(ns, func() {
		link := linkByName(l.t, "eth0")
		addAddress(l.t, "eth0", far)
		must(l.t, netlink.LinkSetUp(link))
		must(l.t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: netip.MustParsePrefix(near).Addr().AsSlice()}))
	})
}

// echo serves the paths' question in ns.
func (l *lab) echo(ns *os.File) {
	l.t.Helper()
	l.at(ns, func() {
		server, err := net.Listen("tcp", ":80")
		must(l.t, err)
		l.t.Cleanup(func() { server.Close() })
		go func() {
			for {
				c, err := server.Accept()
				if err != nil {
					return
				}
				go answerBlocks(c)
			}
		}()
	})
}
