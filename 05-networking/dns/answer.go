package dns

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// timeToLive is how long, in seconds, a client may remember a container's
// address: containers come and go, and the server is on the same machine.
const timeToLive = 5

// own answers req when it asks for a name or an address of one of the
// networks; otherwise it returns nil.
func (reg *Registry) own(networks []string, req *dns.Msg) *dns.Msg {
	q := req.Question[0]
	if q.Qtype == dns.TypePTR {
		address, ok := parseReverse(q.Name)
		if !ok {
			return nil
		}
		name, known := reg.Reverse(networks, address)
		if !known {
			return nil
		}
		reply := replyTo(req, dns.RcodeSuccess)
		reply.Authoritative = true
		reply.Answer = append(reply.Answer, &dns.PTR{Hdr: header(q), Ptr: dns.Fqdn(name)})
		return reply
	}

	addresses, known := reg.Lookup(networks, q.Name)
	if !known {
		return nil
	}
	// The name is ours, so whatever else is asked of it has the answer "no such
	// data" (NOERROR and nothing, RFC 2308 section 2.2), and nobody outside is
	// asked. Without a SOA record it is not to be remembered.
	reply := replyTo(req, dns.RcodeSuccess)
	reply.Authoritative = true
	for _, a := range addresses {
		switch a = a.Unmap(); {
		case a.Is4() && q.Qtype == dns.TypeA:
			reply.Answer = append(reply.Answer, &dns.A{Hdr: header(q), A: net.IP(a.AsSlice())})
		case a.Is6() && q.Qtype == dns.TypeAAAA:
			reply.Answer = append(reply.Answer, &dns.AAAA{Hdr: header(q), AAAA: net.IP(a.AsSlice())})
		}
	}
	// Most clients take the first: so each container behind an alias has its turn.
	rand.Shuffle(len(reply.Answer), func(i, j int) {
		reply.Answer[i], reply.Answer[j] = reply.Answer[j], reply.Answer[i]
	})
	return reply
}

// replyTo is an empty reply to req with this RCODE. It has an OPT record when
// req has one (RFC 6891 section 6.1.1).
func replyTo(req *dns.Msg, rcode int) *dns.Msg {
	reply := new(dns.Msg).SetRcode(req, rcode)
	reply.RecursionAvailable = true
	if opt := req.IsEdns0(); opt != nil {
		reply.SetEdns0(payloadSize, opt.Do())
	}
	return reply
}

// payloadSize is the largest datagram that the server itself says it takes: one
// that needs no fragments wherever it comes from.
const payloadSize = 1232

// sizeOf is the largest datagram that whoever sent req takes (RFC 1035 section
// 4.2.1, RFC 6891 section 6.2.3).
func sizeOf(req *dns.Msg) int {
	if opt := req.IsEdns0(); opt != nil {
		return max(int(opt.UDPSize()), dns.MinMsgSize)
	}
	return dns.MinMsgSize
}

// header repeats the question's name as it was written: some clients mix the
// case and compare.
func header(q dns.Question) dns.RR_Header {
	return dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: timeToLive}
}

// parseReverse returns the address that a name below in-addr.arpa (RFC 1035
// section 3.5) or ip6.arpa (RFC 3596 section 2.5) stands for.
func parseReverse(name string) (netip.Addr, bool) {
	name = dns.CanonicalName(name)
	if host, ok := strings.CutSuffix(name, ".in-addr.arpa."); ok {
		labels := strings.Split(host, ".")
		if len(labels) != 4 {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(labels[3] + "." + labels[2] + "." + labels[1] + "." + labels[0])
		return a, err == nil
	}
	host, ok := strings.CutSuffix(name, ".ip6.arpa.")
	if !ok {
		return netip.Addr{}, false
	}
	labels := strings.Split(host, ".")
	if len(labels) != 32 {
		return netip.Addr{}, false
	}
	var b [16]byte
	for i, label := range labels {
		nibble, err := strconv.ParseUint(label, 16, 4)
		if err != nil || len(label) != 1 {
			return netip.Addr{}, false
		}
		b[15-i/2] |= byte(nibble) << (4 * (i % 2))
	}
	return netip.AddrFrom16(b), true
}
