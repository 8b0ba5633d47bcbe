package dns

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// Record is one container on one network.
type Record struct {
	Name      string       // the container's own: PTR answers with it
	Aliases   []string     // further names; containers may share one
	Addresses []netip.Addr // on this network, IPv4 and IPv6
}

// Registry has the names of all networks. The zero value is empty and ready,
// and any number of goroutines may use it. It remembers nothing across a
// restart: whoever runs the containers tells it.
//
// Names are compared without regard to case (RFC 4343). A name that cannot
// stand in a DNS message, such as one of more than 63 bytes without a dot, is
// kept and never found.
type Registry struct {
	mu    sync.RWMutex
	zones map[string]*zone // by the network's name, in lower case
}

// zone is one network's names.
type zone struct {
	records map[string]*Record       // by the container's name, in lower case
	names   map[string][]*Record     // by each name and alias, in lower case
	owners  map[netip.Addr][]*Record // by each address
}

// Add makes r known on the network, in the place of what the network had under
// r.Name before.
//
// Undo: [Registry.Remove].
func (reg *Registry) Add(network string, r Record) {
	reg.mu.Lock()
	defer reg.mu.Unlock()
	reg.remove(network, r.Name)
	if reg.zones == nil {
		reg.zones = make(map[string]*zone)
	}
	z := reg.zones[strings.ToLower(network)]
	if z == nil {
		z = &zone{make(map[string]*Record), make(map[string][]*Record), make(map[netip.Addr][]*Record)}
		reg.zones[strings.ToLower(network)] = z
	}
	// The caller may go on to change its slices.
	own := &Record{Name: r.Name, Aliases: slices.Clone(r.Aliases), Addresses: slices.Clone(r.Addresses)}
	z.records[strings.ToLower(r.Name)] = own
	for _, name := range own.names() {
		z.names[name] = append(z.names[name], own)
	}
	for _, a := range own.Addresses {
		z.owners[a] = append(z.owners[a], own)
	}
}

// Remove makes the network forget the container of that name. One that it does
// not know is no error.
func (reg *Registry) Remove(network, name string) {
	reg.mu.Lock()
	defer reg.mu.Unlock()
	reg.remove(network, name)
}

func (reg *Registry) remove(network, name string) {
	network, name = strings.ToLower(network), strings.ToLower(name)
	z := reg.zones[network]
	if z == nil || z.records[name] == nil {
		return
	}
	gone := z.records[name]
	delete(z.records, name)
	for _, n := range gone.names() {
		forget(z.names, n, gone)
	}
	for _, a := range gone.Addresses {
		forget(z.owners, a, gone)
	}
	if len(z.records) == 0 {
		delete(reg.zones, network)
	}
}

func forget[K comparable](index map[K][]*Record, key K, gone *Record) {
	index[key] = slices.DeleteFunc(index[key], func(r *Record) bool { return r == gone })
	if len(index[key]) == 0 {
		delete(index, key)
	}
}

// names returns the record's names in lower case, each once.
func (r *Record) names() []string {
	names := []string{strings.ToLower(r.Name)}
	for _, a := range r.Aliases {
		names = append(names, strings.ToLower(a))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Lookup returns the addresses of name on the first of the networks that knows
// it, and whether one does. NAME.NETWORK asks that network alone, where it is
// one of the networks. An alias that several containers have has the addresses
// of all of them.
func (reg *Registry) Lookup(networks []string, name string) (addresses []netip.Addr, known bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	reg.mu.RLock()
	defer reg.mu.RUnlock()
	ask := func(network, name string) bool {
		z := reg.zones[network]
		if z == nil {
			return false
		}
		for _, r := range z.names[name] {
			addresses, known = append(addresses, r.Addresses...), true
		}
		return known
	}
	for _, network := range networks {
		if ask(strings.ToLower(network), name) {
			return addresses, true
		}
	}
	for _, network := range networks {
		network = strings.ToLower(network)
		if host, ok := strings.CutSuffix(name, "."+network); ok && ask(network, host) {
			return addresses, true
		}
	}
	return nil, false
}

// Reverse returns NAME.NETWORK of the container that has the address on one of
// the networks.
func (reg *Registry) Reverse(networks []string, address netip.Addr) (name string, known bool) {
	reg.mu.RLock()
	defer reg.mu.RUnlock()
	for _, network := range networks {
		z := reg.zones[strings.ToLower(network)]
		if z == nil {
			continue
		}
		for _, r := range z.owners[address] {
			name := r.Name + "." + network
			if _, ok := dns.IsDomainName(name); ok {
				return name, true
			}
		}
	}
	return "", false
}
