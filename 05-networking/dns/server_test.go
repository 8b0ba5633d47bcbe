//go:build linux

package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/nftables"
	"github.com/miekg/dns"

	"drydock.example/01-chroot/hosttest"
	networking "drydock.example/05-networking"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newNamespace(t testing.TB) *os.File {
	t.Helper()
	hosttest.Require(t, hosttest.Bridge)
	ns, err := networking.NewNamespace(context.Background())
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	return ns
}

// listen starts a server in ns that ends with the test.
func listen(t testing.TB, ns *os.File, names *Registry, v View) *Server {
	t.Helper()
	s, err := Listen(context.Background(), ns, names, v)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// ask asks as a program in ns does; nil is the host.
func ask(t testing.TB, ns *os.File, transport, server string, req *dns.Msg) *dns.Msg {
	t.Helper()
	var conn net.Conn
	dial := func() (err error) {
		conn, err = net.DialTimeout(transport, server, 5*time.Second)
		return err
	}
	if ns != nil {
		must(t, within(ns, dial))
	} else {
		must(t, dial())
	}
	defer conn.Close()
	client := &dns.Client{Net: transport, Timeout: 10 * time.Second}
	reply, _, err := client.ExchangeWithConn(req, &dns.Conn{Conn: conn})
	if err != nil {
		t.Fatalf("%s %s: %v", transport, req.Question[0].Name, err)
	}
	return reply
}

func question(name string, qtype uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
}

// answers are the answer's records as a zone file has them, without the TTL.
func answers(m *dns.Msg) []string {
	all := []string{}
	for _, rr := range m.Answer {
		f := strings.Fields(rr.String())
		all = append(all, f[0]+" "+strings.Join(f[3:], " "))
	}
	slices.Sort(all)
	return all
}

// outside is a resolver of the world; it counts what it is asked and knows
// what its handler says.
type outside struct {
	address netip.AddrPort
	mu      sync.Mutex
	asked   []string
}

func (o *outside) questions() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.asked)
}

// newOutside starts a resolver at address in ns, on a port of its own, by UDP and TCP.
func newOutside(t testing.TB, ns *os.File, address string, handle func(w dns.ResponseWriter, req *dns.Msg)) *outside {
	t.Helper()
	o := new(outside)
	var tcp net.Listener
	var udp net.PacketConn
	start := func() (err error) {
		if tcp, err = net.Listen("tcp", address+":0"); err != nil {
			return err
		}
		udp, err = net.ListenPacket("udp", tcp.Addr().String())
		return err
	}
	if ns == nil {
		must(t, start())
	} else {
		must(t, within(ns, start))
	}
	o.address = tcp.Addr().(*net.TCPAddr).AddrPort()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, req *dns.Msg) {
		o.mu.Lock()
		o.asked = append(o.asked, w.LocalAddr().Network()+" "+req.Question[0].Name)
		o.mu.Unlock()
		handle(w, req)
	})
	for _, s := range []*dns.Server{{Listener: tcp, Handler: handler}, {PacketConn: udp, Handler: handler}} {
		begun := make(chan struct{})
		s.NotifyStartedFunc = func() { close(begun) }
		go s.ActivateAndServe()
		<-begun
		t.Cleanup(func() { s.Shutdown() })
	}
	return o
}

// world answers example.org with one address, big.example.org with a thousand,
// and knows nothing else.
func world(w dns.ResponseWriter, req *dns.Msg) {
	reply := new(dns.Msg).SetReply(req)
	reply.RecursionAvailable = true
	add := func(a string) {
		rr, err := dns.NewRR(req.Question[0].Name + " 300 IN A " + a)
		if err != nil {
			panic(err)
		}
		reply.Answer = append(reply.Answer, rr)
	}
	switch strings.ToLower(req.Question[0].Name) {
	case "example.org.":
		add("198.51.100.7")
	case "big.example.org.":
		for i := range 1000 {
			add(fmt.Sprintf("10.0.%d.%d", i/250, i%250+1))
		}
	default:
		reply.Rcode = dns.RcodeNameError
	}
	if w.LocalAddr().Network() == "udp" {
		reply.Truncate(sizeOf(req))
	}
	w.WriteMsg(reply)
}

func there(o *outside) []Upstream { return []Upstream{{Address: o.address}} }

func TestServerAnswers(t *testing.T) {
	ns := newNamespace(t)
	o := newOutside(t, nil, "127.0.0.1", world)
	names := new(Registry)
	names.Add("back", Record{Name: "db", Aliases: []string{"store"}, Addresses: addresses("172.30.0.2 fd00::2")})
	names.Add("back", Record{Name: "db2", Aliases: []string{"store"}, Addresses: addresses("172.30.0.3")})
	listen(t, ns, names, View{Networks: []string{"back"}, Upstreams: there(o)})

	for _, test := range []struct {
		name          string
		qtype         uint16
		rcode         int
		authoritative bool
		want          []string
	}{
		{"db", dns.TypeA, dns.RcodeSuccess, true, []string{"db. A 172.30.0.2"}},
		{"dB.BACK", dns.TypeAAAA, dns.RcodeSuccess, true, []string{"dB.BACK. AAAA fd00::2"}},
		{"store", dns.TypeA, dns.RcodeSuccess, true, []string{"store. A 172.30.0.2", "store. A 172.30.0.3"}},
		{"db2", dns.TypeAAAA, dns.RcodeSuccess, true, nil},
		{"db", dns.TypeMX, dns.RcodeSuccess, true, nil},
		{"db", dns.TypeHTTPS, dns.RcodeSuccess, true, nil},
		{"2.0.30.172.in-addr.arpa", dns.TypePTR, dns.RcodeSuccess, true, []string{"2.0.30.172.in-addr.arpa. PTR db.back."}},
		{"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.D.f.ip6.arpa", dns.TypePTR, dns.RcodeSuccess, true,
			[]string{"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.D.f.ip6.arpa. PTR db.back."}},
		{"example.org", dns.TypeA, dns.RcodeSuccess, false, []string{"example.org. A 198.51.100.7"}},
		{"nobody", dns.TypeA, dns.RcodeNameError, false, nil},
		{"example.org", dns.TypeAXFR, dns.RcodeRefused, false, nil},
	} {
		for _, transport := range []string{"udp", "tcp"} {
			reply := ask(t, ns, transport, "127.0.0.11:53", question(test.name, test.qtype))
			if got := answers(reply); reply.Rcode != test.rcode || reply.Authoritative != test.authoritative || !slices.Equal(got, append([]string{}, test.want...)) {
				t.Errorf("%s %s %s: %s, authoritative %v, %q, want %s, %v, %q", transport, test.name, dns.TypeToString[test.qtype],
					dns.RcodeToString[reply.Rcode], reply.Authoritative, got, dns.RcodeToString[test.rcode], test.authoritative, test.want)
			}
			if !reply.RecursionAvailable {
				t.Errorf("%s %s: the reply does not say that recursion is available", transport, test.name)
			}
		}
	}
	want := []string{"udp example.org.", "tcp example.org.", "udp nobody.", "tcp nobody."}
	if got := o.questions(); !slices.Equal(got, want) {
		t.Errorf("the world was asked %q, want %q", got, want)
	}
}

func TestServerRefusesWhatItDoesNotSpeak(t *testing.T) {
	ns := newNamespace(t)
	listen(t, ns, new(Registry), View{})
	update := question("db", dns.TypeA)
	update.Opcode = dns.OpcodeUpdate
	notify := question("db", dns.TypeSOA)
	notify.Opcode = dns.OpcodeNotify
	chaos := question("version.bind", dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	future := question("db", dns.TypeA).SetEdns0(1232, false)
	future.IsEdns0().SetVersion(9)
	for _, test := range []struct {
		req  *dns.Msg
		want int
	}{
		{update, dns.RcodeNotImplemented},
		{notify, dns.RcodeNotImplemented},
		{chaos, dns.RcodeRefused},
		{future, dns.RcodeBadVers},
	} {
		if reply := ask(t, ns, "udp", "127.0.0.11:53", test.req); reply.Rcode != test.want {
			t.Errorf("%s: %s, want %s", test.req.Question[0].Name, dns.RcodeToString[reply.Rcode], dns.RcodeToString[test.want])
		}
	}
}

// The attack: a container asks for what is on a network that it is not on, by
// every name that there is for it.
func TestAnotherNetworksNamesAreNotTold(t *testing.T) {
	o := newOutside(t, nil, "127.0.0.1", world)
	names := new(Registry)
	names.Add("secret", Record{Name: "vault", Aliases: []string{"keys", "safe.deep"}, Addresses: addresses("172.30.9.2 fd00:9::2")})
	names.Add("open", Record{Name: "web", Addresses: addresses("172.30.1.2")})
	victim, attacker := newNamespace(t), newNamespace(t)
	listen(t, victim, names, View{Networks: []string{"secret"}, Upstreams: there(o)})
	s := listen(t, attacker, names, View{Networks: []string{"open"}, Upstreams: there(o)})
	tries := []struct {
		name  string
		qtype uint16
	}{
		{"vault", dns.TypeA},
		{"VAULT", dns.TypeAAAA},
		{"keys", dns.TypeA},
		{"vault.secret", dns.TypeA},
		{"safe.deep", dns.TypeA},
		{"safe.deep.secret", dns.TypeA},
		{"vault.secret.open", dns.TypeA},
		{"vault.open", dns.TypeA},
		{"vault", dns.TypeANY},
		{"2.9.30.172.in-addr.arpa", dns.TypePTR},
		{"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.0.0.0.0.d.f.ip6.arpa", dns.TypePTR},
	}
	refused := func(when string) {
		t.Helper()
		for _, try := range tries {
			for _, transport := range []string{"udp", "tcp"} {
				reply := ask(t, attacker, transport, "127.0.0.11:53", question(try.name, try.qtype))
				if text := reply.String(); reply.Rcode != dns.RcodeNameError || strings.Contains(text, "172.30.9.2") || strings.Contains(text, "fd00:9::2") || strings.Contains(text, "vault.secret.\n") {
					t.Errorf("%s: %s tells of another network:\n%s", when, try.name, text)
				}
			}
		}
	}
	refused("never on the network")
	must(t, s.Set(View{Networks: []string{"open", "secret"}, Upstreams: there(o)}))
	if got := answers(ask(t, attacker, "udp", "127.0.0.11:53", question("vault.secret", dns.TypeA))); len(got) != 1 {
		t.Errorf("on the network the name is not known: %q: the test shows nothing", got)
	}
	must(t, s.Set(View{Networks: []string{"open"}, Upstreams: there(o)}))
	refused("disconnected")
}

// Nor does a neighbour on the same cable reach the other's server.
func TestServerIsTheContainersOwn(t *testing.T) {
	names := new(Registry)
	names.Add("secret", Record{Name: "vault", Addresses: addresses("172.30.9.2")})
	n := &networking.Network{Name: "shared", Bridge: "dd0", Subnet: netip.MustParsePrefix("172.30.0.0/24"), Gateway: netip.MustParseAddr("172.30.0.1")}
	must(t, n.Create(t.Context()))
	defer n.Delete(context.Background())
	victim, attacker := newNamespace(t), newNamespace(t)
	for i, ns := range []*os.File{victim, attacker} {
		ep := &networking.Endpoint{Address: netip.MustParsePrefix(fmt.Sprintf("172.30.0.%d/24", i+2))}
		must(t, n.Connect(t.Context(), ns, ep))
		defer n.Disconnect(context.Background(), ep)
	}
	s := listen(t, victim, names, View{Networks: []string{"secret"}})
	if got := answers(ask(t, victim, "udp", "127.0.0.11:53", question("vault", dns.TypeA))); len(got) != 1 {
		t.Fatalf("the victim itself gets %q", got)
	}
	_ = within(attacker, func() error {
		for _, server := range []string{"127.0.0.11:53", "172.30.0.2:53", "172.30.0.1:53"} {
			if conn, err := net.DialTimeout("tcp", server, 150*time.Millisecond); err == nil {
				conn.Close()
				t.Errorf("a neighbour reaches a name server at %s", server)
			}
		}
		return nil
	})
	if _, err := net.DialTimeout("tcp", "127.0.0.11:53", time.Second); err == nil {
		t.Error("the host has a name server at 127.0.0.11:53")
	}
	_ = s
}

// A program in the container may have port 53 for itself.
func TestPort53IsFree(t *testing.T) {
	ns := newNamespace(t)
	names := new(Registry)
	names.Add("back", Record{Name: "db", Addresses: addresses("172.30.0.2")})
	listen(t, ns, names, View{Networks: []string{"back"}})
	must(t, within(ns, func() error {
		l, err := net.Listen("tcp4", "0.0.0.0:53")
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		p, err := net.ListenPacket("udp4", "0.0.0.0:53")
		if err != nil {
			return err
		}
		t.Cleanup(func() { p.Close() })
		return nil
	}))
	for _, transport := range []string{"udp", "tcp"} {
		if got := answers(ask(t, ns, transport, "127.0.0.11:53", question("db", dns.TypeA))); len(got) != 1 {
			t.Errorf("%s: %q", transport, got)
		}
	}
}

func TestSizes(t *testing.T) {
	ns := newNamespace(t)
	o := newOutside(t, nil, "127.0.0.1", world)
	names := new(Registry)
	for i := range 200 {
		names.Add("back", Record{Name: fmt.Sprint("c", i), Aliases: []string{"all"}, Addresses: addresses(fmt.Sprintf("172.30.0.%d", i+2))})
	}
	listen(t, ns, names, View{Networks: []string{"back"}, Upstreams: there(o)})
	for _, name := range []string{"all", "big.example.org"} {
		for _, size := range []uint16{0, 100, 1232, 4096, 65535} {
			req := question(name, dns.TypeA)
			limit := dns.MinMsgSize
			if size > 0 {
				req.SetEdns0(size, false)
				limit = max(limit, int(size))
			}
			var conn net.Conn
			must(t, within(ns, func() (err error) {
				conn, err = net.Dial("udp", "127.0.0.11:53")
				return err
			}))
			raw, err := req.Pack()
			must(t, err)
			_, err = conn.Write(raw)
			must(t, err)
			must(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
			b := make([]byte, dns.MaxMsgSize)
			n, err := conn.Read(b)
			must(t, err)
			conn.Close()
			reply := new(dns.Msg)
			must(t, reply.Unpack(b[:n]))
			complete := map[string]int{"all": 200, "big.example.org": 1000}[name] == len(reply.Answer)
			if n > limit || reply.Truncated == complete {
				t.Errorf("%s for at most %d bytes: %d bytes, %d answers, truncated %v", name, limit, n, len(reply.Answer), reply.Truncated)
			}
			if name == "all" && (reply.IsEdns0() != nil) != (size > 0) {
				t.Errorf("%s: OPT in the reply: %v, in the request: %v", name, reply.IsEdns0() != nil, size > 0)
			}
		}
		if got := ask(t, ns, "tcp", "127.0.0.11:53", question(name, dns.TypeA)); got.Truncated || len(got.Answer) < 200 {
			t.Errorf("%s by TCP: %d answers, truncated %v", name, len(got.Answer), got.Truncated)
		}
	}
}

// Both ways of going wrong: one upstream says nothing, one says that it failed.
func TestNextUpstreamIsAsked(t *testing.T) {
	ns := newNamespace(t)
	silent := newOutside(t, nil, "127.0.0.1", func(dns.ResponseWriter, *dns.Msg) {})
	failing := newOutside(t, nil, "127.0.0.1", func(w dns.ResponseWriter, req *dns.Msg) {
		w.WriteMsg(new(dns.Msg).SetRcode(req, dns.RcodeServerFailure))
	})
	good := newOutside(t, nil, "127.0.0.1", world)
	s := listen(t, ns, new(Registry), View{Upstreams: slices.Concat(there(silent), there(failing), there(good))})
	for range 3 {
		if got := answers(ask(t, ns, "udp", "127.0.0.11:53", question("example.org", dns.TypeA))); len(got) != 1 {
			t.Errorf("%q", got)
		}
	}
	if got := len(silent.questions()); got != 1 {
		t.Errorf("the silent one was waited for %d times", got)
	}
	if got := len(failing.questions()); got != 3 {
		t.Errorf("the failing one, whose answer costs nothing, was asked %d times", got)
	}
	must(t, s.Set(View{Upstreams: there(failing)}))
	if got := ask(t, ns, "udp", "127.0.0.11:53", question("example.org", dns.TypeA)); got.Rcode != dns.RcodeServerFailure {
		t.Errorf("nobody knows: %s", dns.RcodeToString[got.Rcode])
	}
	nobody := Upstream{Address: netip.MustParseAddrPort("127.0.0.1:1")}
	must(t, s.Set(View{Upstreams: []Upstream{nobody}}))
	if got := ask(t, ns, "udp", "127.0.0.11:53", question("example.org", dns.TypeA)); got.Rcode != dns.RcodeServerFailure {
		t.Errorf("nobody listens: %s", dns.RcodeToString[got.Rcode])
	}
	// A network without a way out is a world of its own.
	must(t, s.Set(View{}))
	if got := ask(t, ns, "udp", "127.0.0.11:53", question("example.org", dns.TypeA)); got.Rcode != dns.RcodeNameError {
		t.Errorf("no upstream: %s", dns.RcodeToString[got.Rcode])
	}
}

// An answer to another question, or under another identifier, is nobody's.
func TestForgedAnswersAreNotBelieved(t *testing.T) {
	ns := newNamespace(t)
	var forge atomic.Value
	o := newOutside(t, nil, "127.0.0.1", func(w dns.ResponseWriter, req *dns.Msg) {
		reply := new(dns.Msg).SetReply(req)
		rr, _ := dns.NewRR("example.org. 300 IN A 203.0.113.66")
		reply.Answer = append(reply.Answer, rr)
		forge.Load().(func(*dns.Msg))(reply)
		w.WriteMsg(reply)
	})
	listen(t, ns, new(Registry), View{Upstreams: there(o)})
	for name, f := range map[string]func(*dns.Msg){
		"another question": func(m *dns.Msg) { m.Question[0].Name = "example.net." },
		"another type":     func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT },
		"no reply":         func(m *dns.Msg) { m.Response = false },
	} {
		forge.Store(f)
		if got := ask(t, ns, "tcp", "127.0.0.11:53", question("example.org", dns.TypeA)); got.Rcode != dns.RcodeServerFailure || len(got.Answer) > 0 {
			t.Errorf("%s is believed: %v", name, got)
		}
	}
}

// The host's upstreams are asked from the host, a given one from the container.
func TestWhereUpstreamsAreAsked(t *testing.T) {
	ns := newNamespace(t)
	o := newOutside(t, ns, "127.0.0.1", world)
	s := listen(t, ns, new(Registry), View{Upstreams: []Upstream{{Address: o.address, Inside: true}}})
	for _, transport := range []string{"udp", "tcp"} {
		if got := answers(ask(t, ns, transport, "127.0.0.11:53", question("example.org", dns.TypeA))); len(got) != 1 {
			t.Errorf("from inside by %s: %q", transport, got)
		}
	}
	must(t, s.Set(View{Upstreams: []Upstream{{Address: o.address}}}))
	if got := ask(t, ns, "udp", "127.0.0.11:53", question("example.org", dns.TypeA)); got.Rcode != dns.RcodeServerFailure {
		t.Errorf("the host reaches the container's localhost: %s", dns.RcodeToString[got.Rcode])
	}
}

func TestServerDoesNotAskItself(t *testing.T) {
	ns := newNamespace(t)
	_, err := Listen(t.Context(), ns, new(Registry), View{Upstreams: []Upstream{{Address: netip.MustParseAddrPort("127.0.0.11:53"), Inside: true}}})
	want := "name server 127.0.0.11:53: it is no resolver that 127.0.0.11 could ask"
	if err == nil || err.Error() != want || !errdefs.IsInvalidArgument(err) {
		t.Errorf("Listen: %v, want %s", err, want)
	}
}

// A daemon that was killed left its rules; the client is one that has asked it
// before, and asks again from the same socket.
func TestNextDaemonTakesOver(t *testing.T) {
	ns := newNamespace(t)
	names := new(Registry)
	names.Add("back", Record{Name: "db", Addresses: addresses("172.30.0.2")})
	first, err := Listen(t.Context(), ns, names, View{Networks: []string{"back"}})
	must(t, err)
	var conn net.Conn
	must(t, within(ns, func() (err error) {
		conn, err = net.Dial("udp", "127.0.0.11:53")
		return err
	}))
	defer conn.Close()
	client := &dns.Client{Timeout: 5 * time.Second}
	exchange := func() error {
		_, _, err := client.ExchangeWithConn(question("db", dns.TypeA), &dns.Conn{Conn: conn})
		return err
	}
	must(t, exchange())
	// What the end of a process does: the sockets close, the rules stay.
	for _, s := range first.servers {
		must(t, s.Shutdown())
	}
	begin := time.Now()
	if exchange() == nil {
		t.Error("somebody answers while there is no daemon")
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("it takes %s to learn that nobody answers", took)
	}
	listen(t, ns, names, View{Networks: []string{"back"}})
	must(t, exchange())
	first.ns.Close()
}

func TestCloseLeavesNothing(t *testing.T) {
	ns := newNamespace(t)
	s, err := Listen(t.Context(), ns, new(Registry), View{})
	must(t, err)
	if tables := tablesIn(t, ns); len(tables) != 1 {
		t.Errorf("the container has the tables %v", tables)
	}
	must(t, s.Close())
	if tables := tablesIn(t, ns); len(tables) != 0 {
		t.Errorf("tables are left: %v", tables)
	}
}

// A question that is being asked ends with the server.
func TestCloseDoesNotWaitForUpstreams(t *testing.T) {
	ns := newNamespace(t)
	asked := make(chan struct{}, 1)
	o := newOutside(t, nil, "127.0.0.1", func(dns.ResponseWriter, *dns.Msg) { asked <- struct{}{} })
	s, err := Listen(t.Context(), ns, new(Registry), View{Upstreams: there(o)})
	must(t, err)
	must(t, within(ns, func() error {
		conn, err := net.Dial("udp", "127.0.0.11:53")
		if err != nil {
			return err
		}
		t.Cleanup(func() { conn.Close() })
		raw, _ := question("example.org", dns.TypeA).Pack()
		_, err = conn.Write(raw)
		return err
	}))
	<-asked
	begin := time.Now()
	must(t, s.Close())
	if took := time.Since(begin); took > patience-200*time.Millisecond {
		t.Errorf("Close took %s", took)
	}
}

func tablesIn(t *testing.T, ns *os.File) []string {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(int(ns.Fd())))
	must(t, err)
	tables, err := c.ListTables()
	must(t, err)
	var names []string
	for _, table := range tables {
		names = append(names, table.Name)
	}
	return names
}

// More questions than upstreams answer do not pile up in the daemon.
func TestQuestionsAreBounded(t *testing.T) {
	ns := newNamespace(t)
	o := newOutside(t, nil, "127.0.0.1", func(dns.ResponseWriter, *dns.Msg) {})
	s := listen(t, ns, new(Registry), View{Upstreams: there(o)})
	for range maxQuestions {
		s.questions <- struct{}{}
	}
	if got := ask(t, ns, "udp", "127.0.0.11:53", question("example.org", dns.TypeA)); got.Rcode != dns.RcodeServerFailure {
		t.Errorf("one question too many: %s", dns.RcodeToString[got.Rcode])
	}
	for range maxQuestions {
		<-s.questions
	}
}

// FuzzAnswer gives the server any bytes: it answers with a message that fits,
// or with nothing, and never with a name of another network.
func FuzzAnswer(f *testing.F) {
	names := new(Registry)
	names.Add("back", Record{Name: "db", Aliases: []string{"store"}, Addresses: addresses("172.30.0.2 fd00::2")})
	names.Add("secret", Record{Name: "vault", Addresses: addresses("172.30.9.2")})
	s := &Server{names: names}
	must(f, s.Set(View{Networks: []string{"back"}}))
	for _, m := range []*dns.Msg{
		question("db", dns.TypeA), question("store.back", dns.TypeAAAA).SetEdns0(4096, true), question("vault.secret", dns.TypeANY),
		question("2.0.30.172.in-addr.arpa", dns.TypePTR), question("2.9.30.172.in-addr.arpa", dns.TypePTR), question(".", dns.TypeNS),
	} {
		raw, err := m.Pack()
		must(f, err)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		req := new(dns.Msg)
		if req.Unpack(raw) != nil {
			return
		}
		for _, transport := range []string{"udp", "tcp"} {
			reply := s.reply(t.Context(), req, transport)
			fit(reply, req, transport)
			packed, err := reply.Pack()
			if err != nil {
				// What the request cannot be written as: the server says nothing then.
				continue
			}
			if limit := sizeOf(req); transport == "udp" && len(packed) > limit {
				t.Errorf("%d bytes for a client that takes %d", len(packed), limit)
			}
			if reply.Id != req.Id || !reply.Response {
				t.Errorf("no reply to %d: %v", req.Id, reply)
			}
			for _, rr := range reply.Answer {
				if s := rr.String(); strings.Contains(s, "172.30.9.2") || strings.Contains(s, "vault.secret") && rr.Header().Rrtype == dns.TypePTR {
					t.Errorf("another network's name: %s", s)
				}
			}
		}
	})
}

func BenchmarkListen(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		ns := newNamespace(b)
		b.StartTimer()
		s, err := Listen(context.Background(), ns, new(Registry), View{})
		must(b, err)
		b.StopTimer()
		must(b, s.Close())
		b.StartTimer()
	}
}

func BenchmarkAnswer(b *testing.B) {
	ns := newNamespace(b)
	names := new(Registry)
	names.Add("back", Record{Name: "db", Addresses: addresses("172.30.0.2")})
	listen(b, ns, names, View{Networks: []string{"back"}})
	var conn net.Conn
	must(b, within(ns, func() (err error) {
		conn, err = net.Dial("udp", "127.0.0.11:53")
		return err
	}))
	defer conn.Close()
	client, co := &dns.Client{Timeout: 5 * time.Second}, &dns.Conn{Conn: conn}
	for b.Loop() {
		_, _, err := client.ExchangeWithConn(question("db", dns.TypeA), co)
		must(b, err)
	}
}
