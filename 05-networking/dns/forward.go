//go:build linux

package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Upstream is a resolver that is asked for what is no container's name.
type Upstream struct {
	Address netip.AddrPort
	// Inside: asked from the container's namespace, where it is an address that
	// the container reaches. Otherwise it is asked from the host's, where
	// 127.0.0.53 is the host's own resolver.
	Inside bool
}

const (
	// patience is for one upstream. A client's own is five seconds, mostly, so
	// that a second upstream still has its turn.
	patience = 2 * time.Second
	// penalty is for how long an upstream that failed is asked last. Not for
	// ever: the first in the list may know names that the others do not.
	penalty = 10 * time.Second
)

// upstream is an Upstream and how it has behaved.
type upstream struct {
	Upstream
	failed atomic.Int64 // when, in nanoseconds since 1970; 0: not
}

// forward asks the upstreams, one after the other until one has an answer.
// What one says is passed on, NXDOMAIN and NODATA too; SERVFAIL and REFUSED are
// no answers, as resolvers hold it, and are passed on when there is nothing
// better.
func (s *Server) forward(ctx context.Context, upstreams []*upstream, req *dns.Msg, transport string) *dns.Msg {
	if len(upstreams) == 0 {
		// In a network that has no way out there are no other names. REFUSED
		// would be as true, but musl's resolver then waits for a better answer.
		return replyTo(req, dns.RcodeNameError)
	}
	now := time.Now()
	suspect := func(u *upstream) int {
		if at := u.failed.Load(); at != 0 && now.Sub(time.Unix(0, at)) < penalty {
			return 1
		}
		return 0
	}
	upstreams = slices.Clone(upstreams)
	slices.SortStableFunc(upstreams, func(a, b *upstream) int { return suspect(a) - suspect(b) })

	var refusal *dns.Msg
	for _, u := range upstreams {
		answer, err := s.exchange(ctx, u.Upstream, req, transport)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			u.failed.Store(time.Now().UnixNano())
			continue
		}
		u.failed.Store(0)
		answer.Id = req.Id
		if answer.Rcode != dns.RcodeServerFailure && answer.Rcode != dns.RcodeRefused {
			return answer
		}
		refusal = answer
	}
	if refusal != nil {
		return refusal
	}
	return replyTo(req, dns.RcodeServerFailure)
}

// exchange asks one upstream, by the transport by which we were asked: what it
// cuts off from a datagram, the client asks for again by TCP.
func (s *Server) exchange(ctx context.Context, u Upstream, req *dns.Msg, transport string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var conn net.Conn
	// A socket for each question: its port is as hard to guess as the identifier.
	dial := func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, transport, u.Address.String())
		return err
	}
	var err error
	if u.Inside {
		err = within(s.ns, dial)
	} else {
		err = dial()
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()

	question := req.Copy()
	question.Id = dns.Id()
	client := &dns.Client{Net: transport, Timeout: patience}
	answer, _, err := client.ExchangeWithConnContext(ctx, question, &dns.Conn{Conn: conn, UDPSize: dns.MaxMsgSize})
	if err != nil {
		return nil, err
	}
	if !answer.Response || len(answer.Question) != 1 || !sameQuestion(answer.Question[0], question.Question[0]) {
		return nil, fmt.Errorf("%s answers another question than %s", u.Address, question.Question[0].Name)
	}
	return answer, nil
}

func sameQuestion(a, b dns.Question) bool {
	return strings.EqualFold(a.Name, b.Name) && a.Qtype == b.Qtype && a.Qclass == b.Qclass
}
