//go:build linux

package networking

import (
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// path is a connection over one of the ways that are compared.
type path struct {
	name   string
	conn   net.Conn
	proxy  int // another process that has a part in it; 0: none
	rounds []time.Duration
}

// spent is the CPU time so far of whoever has a part in the path. All of
// the kernel's work for a packet is done on behalf of who sends it.
func (p *path) spent(b *testing.B) time.Duration {
	clocks := []int{unix.CLOCK_PROCESS_CPUTIME_ID}
	if p.proxy != 0 {
		const schedulers = 2 // CPUCLOCK_SCHED, as clock_getcpuclockid(3) makes it
		clocks = append(clocks, ^p.proxy<<3|schedulers)
	}
	var all time.Duration
	for _, clock := range clocks {
		var t unix.Timespec
		must(b, unix.ClockGettime(int32(clock), &t))
		all += time.Duration(t.Nano())
	}
	return all
}

func (p *path) median() float64 {
	slices.Sort(p.rounds)
	return float64(p.rounds[len(p.rounds)/2])
}

// BenchmarkPaths tells what each part between a client and a container costs:
// from the host itself, and from another host through this one. The first way is a
// plain cable on a host without any rule; each further one adds a part. All are
// asked by turns. The figures are ratios to the plain cable: 1.1 is 10 % more time.
//
// What is measured is CPU time, on one CPU: neither what else the machine does is
// in it, nor how long another CPU takes to wake up.
func BenchmarkPaths(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, from := range []string{"the host", "another host"} {
		for name, send := range map[string]func(net.Conn) error{"a megabyte": sendMegabyte, "50 exchanges": exchange50} {
			b.Run("from "+from+"/"+name, func(b *testing.B) {
				compare(b, newPaths(b, from == "another host", (*lab).echo), func(p *path) time.Duration {
					before := p.spent(b)
					must(b, send(p.conn))
					return p.spent(b) - before
				})
			})
		}
	}
}

// BenchmarkLatency is how long a client waits, by the clock, for the answer to a
// byte from a server in a container. Each has a processor of its own, so that the
// way is measured and not the scheduler's choice of one for both.
func BenchmarkLatency(b *testing.B) {
	client, server := twoCPUs(b)
	for _, from := range []string{"the host", "another host"} {
		b.Run("from "+from+"/50 exchanges", func(b *testing.B) {
			runOn(b, server) // and so will the processes that are started now
			paths := newPaths(b, from == "another host", (*lab).echoProcess)
			runOn(b, client)
			compare(b, paths, func(p *path) time.Duration {
				before := time.Now()
				must(b, exchange50(p.conn))
				return time.Since(before)
			})
		})
	}
}

// compare takes the time of all paths by turns, and reports their medians.
func compare(b *testing.B, paths []*path, take func(*path) time.Duration) {
	for first := 0; b.Loop(); first++ {
		for i := range paths {
			p := paths[(first+i)%len(paths)]
			p.rounds = append(p.rounds, take(p))
		}
	}
	b.ReportMetric(paths[0].median(), "plain-ns")
	b.ReportMetric(0, "ns/op") // of all paths together: it says nothing
	for _, p := range paths[1:] {
		b.ReportMetric(p.median()/paths[0].median(), p.name+"/plain")
	}
}

// twoCPUs returns two processors that this process may run on.
func twoCPUs(b *testing.B) (first, second int) {
	var set unix.CPUSet
	must(b, unix.SchedGetaffinity(0, &set))
	b.Cleanup(func() { setAffinity(b, &set) })
	var found []int
	for cpu := 0; cpu < 1024 && len(found) < 2; cpu++ {
		if set.IsSet(cpu) {
			found = append(found, cpu)
		}
	}
	if len(found) < 2 {
		b.Skip("requires two processors")
	}
	return found[0], found[1]
}

func runOn(b *testing.B, cpu int) {
	var set unix.CPUSet
	set.Set(cpu)
	setAffinity(b, &set)
}

// setAffinity is for all threads of this process (sched_setaffinity(2)).
func setAffinity(b *testing.B, set *unix.CPUSet) {
	threads, err := os.ReadDir("/proc/self/task")
	must(b, err)
	for _, thread := range threads {
		tid, err := strconv.Atoi(thread.Name())
		must(b, err)
		if err := unix.SchedSetaffinity(tid, set); err != unix.ESRCH { // it has ended
			must(b, err)
		}
	}
}

const megabyte = 1 << 20

// The server of a path answers each megabyte, and each single byte, with a byte.
func sendMegabyte(c net.Conn) error {
	block := make([]byte, megabyte)
	block[0] = 'M'
	if _, err := c.Write(block); err != nil {
		return err
	}
	_, err := io.ReadFull(c, block[:1])
	return err
}

// exchange50 sends a byte and waits for the answer, fifty times.
func exchange50(c net.Conn) error {
	one := make([]byte, 1)
	for range 50 {
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

// ways are what is between the client and the container, each on a host of its
// own. Each returns the address that leads to the container's server.
var ways = []struct {
	name string
	lay  func(b *testing.B, p *path, container *os.File) (address string)
}{
	{"plain", func(b *testing.B, p *path, c *os.File) string {
		cable(b, c, "plain", "172.30.0.1/24", "172.30.0.2/24")
		return "172.30.0.2:80"
	}},
	{"bridge", func(b *testing.B, p *path, c *os.File) string {
		bridgedOnly(b, c)
		return "172.30.0.2:80"
	}},
	{"bridge+conntrack", func(b *testing.B, p *path, c *os.File) string {
		bridgedOnly(b, c)
		s := new(ruleset)
		s.add(s.base(table, "conntrack", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityFilter),
			"", "", ctState(expr.CtStateBitESTABLISHED), verdict(expr.VerdictAccept))
		load(b, s)
		return "172.30.0.2:80"
	}},
	// The least that publishes a port. What is beyond it is ours.
	{"bridge+NAT", func(b *testing.B, p *path, c *os.File) string {
		n, ep := bridgedOnly(b, c)
		s := new(ruleset)
		s.publishedPorts(n)
		for _, hook := range []*nftables.ChainHook{nftables.ChainHookPrerouting, nftables.ChainHookOutput} {
			s.add(s.base(table, "nat-"+hooks[*hook], nftables.ChainTypeNAT, hook, nftables.ChainPriorityNATDest),
				"", "", family(unix.NFPROTO_IPV4), dnatByPort(s.everywhere))
		}
		load(b, s, ep.mappings(ep.Ports[0])[0].element())
		return hostAddress + ":18080"
	}},
	{"published", published},
	{"one-of-20-networks", func(b *testing.B, p *path, c *os.File) string {
		for i := range 19 {
			must(b, testNetwork(i+1).Create(background))
		}
		return published(b, p, c)
	}},
	// What Docker has for each port where the rules do not translate, and for
	// each connection from localhost with some of its settings.
	{"docker-proxy", func(b *testing.B, p *path, c *os.File) string {
		proxy, err := exec.LookPath("docker-proxy")
		if err != nil {
			return ""
		}
		bridgedOnly(b, c)
		cmd := exec.Command(proxy, "-proto", "tcp", "-host-ip", hostAddress, "-host-port", "18080", "-container-ip", "172.30.0.2", "-container-port", "80")
		// It tells its parent by descriptor 3 that it listens.
		read, write, err := os.Pipe()
		must(b, err)
		defer read.Close()
		cmd.ExtraFiles = []*os.File{write}
		must(b, cmd.Start())
		write.Close()
		p.proxy = cmd.Process.Pid
		b.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		_, err = read.Read(make([]byte, 1))
		must(b, err)
		return hostAddress + ":18080"
	}},
}

func published(b *testing.B, _ *path, c *os.File) string {
	n := testNetwork(0)
	must(b, n.Create(background))
	must(b, n.Connect(background, c, endpoint(b, n, 2, "18080:80")))
	return hostAddress + ":18080"
}

// bridgedOnly connects as usual and takes all the rules away.
func bridgedOnly(b *testing.B, c *os.File) (*Network, *Endpoint) {
	n := testNetwork(0)
	must(b, n.Create(background))
	ep := endpoint(b, n, 2, "18080:80")
	must(b, n.Connect(background, c, ep))
	must(b, n.deleteRules(background))
	return n, ep
}

// load writes rules, with these elements in the map of ports.
func load(b *testing.B, s *ruleset, ports ...nftables.SetElement) {
	c := new(nftables.Conn)
	c.AddTable(table)
	for _, set := range s.sets {
		must(b, c.AddSet(set, nil))
	}
	if len(ports) > 0 {
		must(b, c.SetAddElements(s.everywhere, ports))
	}
	for _, r := range s.rules {
		c.AddRule(&nftables.Rule{Table: table, Chain: c.AddChain(r.chain), Exprs: slices.Concat(r.exprs...)})
	}
	must(b, c.Flush())
}

// newPaths connects to a server by all ways, from each way's host or from a
// host beside that one. All goes with the namespaces.
func newPaths(b *testing.B, fromOutside bool, serve func(l *lab, container *os.File)) (paths []*path) {
	for _, way := range ways {
		l := &lab{t: b, outside: newNamespace(b)}
		host, c := newNamespace(b), newNamespace(b)
		p, address := &path{name: way.name}, ""
		l.at(host, func() {
			must(b, os.WriteFile(forwardFile, []byte("1"), 0))
			cable(b, l.outside, "uplink", hostAddress+"/24", outsideAddress+"/24")
			address = way.lay(b, p, c)
		})
		if address == "" {
			b.Log(way.name, "is not installed: it is not compared")
			continue
		}
		serve(l, c)
		l.at(map[bool]*os.File{false: host, true: l.outside}[fromOutside], func() {
			var err error
			p.conn, err = net.DialTimeout("tcp", address, 5*time.Second)
			must(b, err)
		})
		b.Cleanup(func() { p.conn.Close() })
		must(b, exchange50(p.conn))
		paths = append(paths, p)
	}
	return paths
}

// cable lays a plain veth pair into ns, where the near end is the way out.
func cable(b *testing.B, ns *os.File, name, near, far string) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Flags = name, net.FlagUp
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerNamespace = "eth0", netlink.NsFd(ns.Fd())
	must(b, netlink.LinkAdd(pair))
	addAddress(b, name, near)
	(&lab{t: b}).at(ns, func() {
		link := linkByName(b, "eth0")
		addAddress(b, "eth0", far)
		must(b, netlink.LinkSetUp(link))
		must(b, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: netip.MustParsePrefix(near).Addr().AsSlice()}))
		must(b, awaitUp(background, handle(b), netns.None(), link.Attrs().Index))
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

// echoServer is in the environment of a process that serves the paths' question.
const echoServer = "DRYDOCK_TEST_ECHO_SERVER"

func init() {
	if os.Getenv(echoServer) == "" {
		return
	}
	server, err := net.FileListener(os.NewFile(3, "listener"))
	for err == nil {
		var c net.Conn
		if c, err = server.Accept(); err == nil {
			go answerBlocks(c)
		}
	}
	os.Exit(1)
}

// echoProcess serves the paths' question in ns, from a process of its own.
func (l *lab) echoProcess(ns *os.File) {
	l.t.Helper()
	l.at(ns, func() {
		server, err := net.Listen("tcp", ":80")
		must(l.t, err)
		defer server.Close()
		listener, err := server.(*net.TCPListener).File()
		must(l.t, err)
		defer listener.Close()
		cmd := exec.Command("/proc/self/exe")
		cmd.Env, cmd.ExtraFiles = append(os.Environ(), echoServer+"=1"), []*os.File{listener}
		must(l.t, cmd.Start())
		l.t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
	})
}
