//go:build linux && (exercise || solution)

package whatisyourname

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	networking "drydock.example/05-networking"
	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestServe(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	ns, err := networking.NewNamespace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	before, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	server, err := Serve(ns, "db", netip.MustParseAddr("172.30.9.2"))
	if err != nil {
		t.Fatalf("Serve: %v", err)
	}
	defer server.Close()
	if after, _ := os.Readlink("/proc/thread-self/ns/net"); after != before {
		t.Fatalf("the thread that called Serve is in %s now and was in %s: it did not come back", after, before)
	}

	for _, test := range []struct {
		name        string
		qtype       uint16
		rcode, many int
		mistake     string
	}{
		{"db.", dns.TypeA, dns.RcodeSuccess, 1, "the one name that there is"},
		{"dB.", dns.TypeA, dns.RcodeSuccess, 1, "names have no case"},
		{"db.", dns.TypeAAAA, dns.RcodeSuccess, 0, "the name is there, and has no IPv6 address: no error, and nothing"},
		{"web.", dns.TypeA, dns.RcodeNameError, 0, "there is no such name"},
		{"db.example.org.", dns.TypeA, dns.RcodeNameError, 0, "a name ends where it ends"},
	} {
		question := new(dns.Msg).SetQuestion(test.name, test.qtype)
		reply, err := ask(ns, question)
		if err != nil {
			t.Errorf("%s %s: %v: does somebody listen *in the namespace*, on 127.0.0.11?", test.name, dns.TypeToString[test.qtype], err)
			continue
		}
		if reply.Rcode != test.rcode || len(reply.Answer) != test.many {
			t.Errorf("%s %s: %s with %d answers, want %s with %d: %s", test.name, dns.TypeToString[test.qtype],
				dns.RcodeToString[reply.Rcode], len(reply.Answer), dns.RcodeToString[test.rcode], test.many, test.mistake)
			continue
		}
		if len(reply.Question) != 1 || reply.Question[0] != question.Question[0] {
			t.Errorf("%s: the reply is to %v: a client throws it away", test.name, reply.Question)
		}
		for _, rr := range reply.Answer {
			if a, ok := rr.(*dns.A); !ok || a.A.String() != "172.30.9.2" || a.Hdr.Name != test.name {
				t.Errorf("%s: the answer is %v", test.name, rr)
			}
		}
	}
	if _, err := ask(nil, new(dns.Msg).SetQuestion("db.", dns.TypeA)); err == nil {
		t.Error("the host gets an answer too: the socket is in the host's namespace")
	}
	if err := server.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := ask(ns, new(dns.Msg).SetQuestion("db.", dns.TypeA)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("after Close: %v: the socket is still open", err)
	}
}

// ask sends a question from ns, or from where the test is for nil.
func ask(ns *os.File, question *dns.Msg) (*dns.Msg, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	dialed := make(chan result)
	go func() {
		if ns != nil {
			runtime.LockOSThread() // and never unlocked: the thread ends in there
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				dialed <- result{nil, err}
				return
			}
		}
		conn, err := net.Dial("udp4", "127.0.0.11:53")
		dialed <- result{conn, err}
	}()
	r := <-dialed
	if r.err != nil {
		return nil, r.err
	}
	defer r.conn.Close()
	reply, _, err := (&dns.Client{Timeout: 5 * time.Second}).ExchangeWithConn(question, &dns.Conn{Conn: r.conn})
	return reply, err
}
