//go:build linux && solution

// Package whatisyourname is an exercise of chapter 5.
package whatisyourname

import (
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// Serve answers DNS questions that programs in the network namespace ns send to
// 127.0.0.11, port 53, by UDP, until it is closed. It knows one name, which has
// one IPv4 address.
func Serve(ns *os.File, name string, address netip.Addr) (io.Closer, error) {
	conn, err := listen(ns, "127.0.0.11:53")
	if err != nil {
		return nil, err
	}
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			question := new(dns.Msg)
			if question.Unpack(buf[:n]) != nil || question.Response || len(question.Question) != 1 {
				continue
			}
			if reply, err := answer(question, name, address).Pack(); err == nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return conn, nil
}

func answer(question *dns.Msg, name string, address netip.Addr) *dns.Msg {
	q := question.Question[0]
	if dns.CanonicalName(q.Name) != dns.CanonicalName(name) {
		return new(dns.Msg).SetRcode(question, dns.RcodeNameError)
	}
	reply := new(dns.Msg).SetReply(question)
	if q.Qtype == dns.TypeA {
		reply.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5},
			A:   net.IP(address.AsSlice()),
		}}
	}
	return reply
}

// listen makes the socket in ns, on a thread that comes back.
func listen(ns *os.File, address string) (net.PacketConn, error) {
	runtime.LockOSThread()
	host, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer host.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	conn, err := net.ListenPacket("udp4", address)
	if back := unix.Setns(int(host.Fd()), unix.CLONE_NEWNET); back == nil {
		runtime.UnlockOSThread()
	}
	return conn, err
}
