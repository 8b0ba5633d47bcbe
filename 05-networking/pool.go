package networking

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/containerd/errdefs"
)

// Pool hands out the host addresses of one subnet, each to one endpoint at a
// time. Whoever makes a Pool tells it what is in use already; the Pool itself
// remembers nothing across a restart.
//
// Addresses go round: one that was released is handed out again only after all
// the others, so that a neighbour's ARP entry, or a client that remembers an
// address, does not meet another container there a second later.
type Pool struct {
	mu     sync.Mutex
	prefix netip.Prefix
	used   map[netip.Addr]bool
	last   netip.Addr // handed out last
}

// NewPool returns a pool of prefix's host addresses without those in used, to
// which a caller adds at least the gateway.
func NewPool(prefix netip.Prefix, used ...netip.Addr) *Pool {
	p := &Pool{prefix: prefix.Masked(), used: make(map[netip.Addr]bool)}
	p.last = p.prefix.Addr()
	for _, a := range used {
		p.used[a] = true
	}
	return p
}

// Allocate returns the next address that nobody has, or an
// errdefs.ErrResourceExhausted.
func (p *Pool) Allocate() (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// One round ends where it began. It is short: used addresses are few, and
	// as soon as one is met that is free the search is over.
	for a := p.next(p.last); ; a = p.next(a) {
		if !p.used[a] && p.host(a) {
			p.used[a], p.last = true, a
			return a, nil
		}
		if a == p.last {
			return netip.Addr{}, errdefs.ErrResourceExhausted.WithMessage(
				fmt.Sprintf("no free address in %s", p.prefix))
		}
	}
}

// Take hands out a, and nobody else gets it: the address that a user chose. One
// that is in use is an errdefs.ErrAlreadyExists, and one that is no host's
// address in the subnet an errdefs.ErrInvalidArgument.
func (p *Pool) Take(a netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.prefix.Contains(a) || !p.host(a):
		return invalid("%s is no address for a container in %s", a, p.prefix)
	case p.used[a]:
		return errdefs.ErrAlreadyExists.WithMessage(fmt.Sprintf("the address %s is in use", a))
	}
	p.used[a] = true
	return nil
}

// Release makes a available again. Releasing what was not handed out is no
// error.
func (p *Pool) Release(a netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, a)
}

func (p *Pool) next(a netip.Addr) netip.Addr {
	if a = a.Next(); p.prefix.Contains(a) {
		return a
	}
	return p.prefix.Addr()
}

// host reports whether a can be a host's address: neither the subnet's own
// (all host bits 0) nor, in IPv4, the broadcast address (all host bits 1).
// A /31 has two hosts and neither of them (RFC 3021), a /32 one.
func (p *Pool) host(a netip.Addr) bool {
	if p.prefix.Addr().BitLen()-p.prefix.Bits() <= 1 {
		return true
	}
	broadcast := a.Is4() && !p.prefix.Contains(a.Next())
	return a != p.prefix.Addr() && !broadcast
}
