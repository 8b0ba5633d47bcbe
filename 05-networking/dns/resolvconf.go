package dns

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ResolvConf is a resolv.conf(5).
type ResolvConf struct {
	Nameservers []netip.Addr
	Search      []string
	Options     []string
}

// ParseResolvConf reads a resolv.conf(5) as resolvers do: the last of several
// search and domain lines counts, and a line that it does not understand is
// passed over.
func ParseResolvConf(text []byte) ResolvConf {
	var c ResolvConf
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(words[1]); err == nil {
				c.Nameservers = append(c.Nameservers, a)
			}
		case "search":
			c.Search = words[1:]
		case "domain":
			c.Search = words[1:2]
		case "options":
			c.Options = append(c.Options, words[1:]...)
		}
	}
	return c
}

// Bytes writes the file.
func (c ResolvConf) Bytes() []byte {
	var b bytes.Buffer
	for _, a := range c.Nameservers {
		fmt.Fprintf(&b, "nameserver %s\n", a)
	}
	if len(c.Search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(c.Search, " "))
	}
	if len(c.Options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(c.Options, " "))
	}
	return b.Bytes()
}

// With is c, a host's, with what a user gave for one container in its place;
// a given search list of "." is none.
func (c ResolvConf) With(given ResolvConf) ResolvConf {
	if len(given.Nameservers) > 0 {
		c.Nameservers = given.Nameservers
	}
	if len(given.Search) > 0 {
		c.Search = given.Search
	}
	if slices.Equal(c.Search, []string{"."}) {
		c.Search = nil
	}
	if len(given.Options) > 0 {
		c.Options = given.Options
	}
	return c
}

// Embedded returns the resolv.conf of a container that asks our [Server], and
// whom that one asks in turn: the servers that the user gave, from within the
// container, or else the host's, from the host.
//
// Unless somebody has said otherwise a name without a dot is looked up as it
// is (ndots:0) before the search list has its turn. It is a container's,
// mostly, and a domain outside must not answer in its stead.
func (c ResolvConf) Embedded(given ResolvConf) (conf ResolvConf, upstreams []Upstream) {
	conf = c.With(given)
	if len(conf.Nameservers) == 0 {
		// resolv.conf(5): none is the one on the local machine.
		conf.Nameservers = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	for _, a := range conf.Nameservers {
		upstreams = append(upstreams, Upstream{Address: netip.AddrPortFrom(a, port), Inside: len(given.Nameservers) > 0})
	}
	conf.Nameservers = []netip.Addr{Address}
	if !slices.ContainsFunc(conf.Options, func(o string) bool { return strings.HasPrefix(o, "ndots:") }) {
		conf.Options = append(slices.Clone(conf.Options), "ndots:0")
	}
	return conf, upstreams
}
