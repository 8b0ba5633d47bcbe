//go:build linux

package networking

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Every network of every engine on this host has its rules in the one table
// "drydock". A network's chains and maps carry its bridge's name, and no rule
// of one network speaks of another: they come and go without knowing of each
// other. The kernel calls the chains at a hook one after the other; an accept
// ends only the chain that says it, a drop is final.
//
// What each packet must pass is not in these, or a hundred networks would make
// every packet of the host slow. It is in chains that all networks share, the
// same for whoever writes them, and in which a network is an element of a set.
// Translation is asked for the first packet of a connection only: its chains
// are each network's own.
//
// The family inet sees IPv4 and IPv6 packets; guard.go has the rules for frames.
var table = &nftables.Table{Name: "drydock", Family: nftables.TableFamilyINet}

// ruleset is what a network has in the tables, after what all networks share.
type ruleset struct {
	networks         *nftables.Set // a bridge, and the chain that says who gets into its network
	everywhere, on   *nftables.Set // published ports, IPv4: on all addresses of the host, on one
	everywhere6, on6 *nftables.Set // the same, IPv6
	open             *nftables.Set // ports of containers that are routed to, not translated
	open6            *nftables.Set
	guard            guardSets
	sets             []*nftables.Set // all of these that the network has
	chains           []*nftables.Chain
	rules            []rule
	shared           struct{ sets, chains int } // so many of them, the first ones, are all networks'
}

func (s *ruleset) ownSets() []*nftables.Set     { return s.sets[s.shared.sets:] }
func (s *ruleset) ownChains() []*nftables.Chain { return s.chains[s.shared.chains:] }

// rule is one rule: as nft prints it, why it is there (also its comment in the
// kernel), and as the kernel takes it.
type rule struct {
	chain *nftables.Chain
	text  string
	why   string
	exprs [][]expr.Any
}

var loopbackNet = netip.MustParsePrefix("127.0.0.0/8")

// base adds a chain that the kernel calls at a hook.
func (s *ruleset) base(t *nftables.Table, name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
	accept := nftables.ChainPolicyAccept
	c := &nftables.Chain{Table: t, Name: name, Type: kind, Hooknum: hook, Priority: priority, Policy: &accept}
	s.chains = append(s.chains, c)
	return c
}

// chain adds one that a rule jumps to.
func (s *ruleset) chain(name string) *nftables.Chain {
	c := &nftables.Chain{Table: table, Name: name}
	s.chains = append(s.chains, c)
	return c
}

func (s *ruleset) add(c *nftables.Chain, text, why string, exprs ...[]expr.Any) {
	s.rules = append(s.rules, rule{c, text, why, exprs})
}

// set adds a set, or with data a map. Its ID is its name within a transaction.
func (s *ruleset) set(t *nftables.Table, name string, data []nftables.SetDatatype, key ...nftables.SetDatatype) *nftables.Set {
	set := &nftables.Set{
		Table: t, Name: name, ID: uint32(len(s.sets) + 1),
		KeyType: concat(key...), Concatenation: len(key) > 1, IsMap: data != nil,
	}
	if data != nil {
		set.DataType = concat(data...)
	}
	s.sets = append(s.sets, set)
	return set
}

// links adds a set whose keys are names of links.
func (s *ruleset) links(t *nftables.Table, name string, data []nftables.SetDatatype) *nftables.Set {
	set := s.set(t, name, data, nftables.TypeIFName)
	set.KeyByteOrder = binaryutil.NativeEndian // for nft to print it
	return set
}

func concat(types ...nftables.SetDatatype) nftables.SetDatatype {
	if len(types) == 1 {
		return types[0]
	}
	t, err := nftables.ConcatSetType(types...)
	if err != nil {
		panic(err) // more than five types
	}
	return t
}

// ruleset returns the network's chains, maps and rules. This list is what
// `nft list table inet drydock` shows, in the same order.
func (n *Network) ruleset() *ruleset {
	s := sharedRules()
	s.publishedPorts(n)
	filter, nat := nftables.ChainTypeFilter, nftables.ChainTypeNAT
	prerouting := s.base(table, "prerouting-"+n.Bridge, nat, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest)
	output := s.base(table, "output-"+n.Bridge, nat, nftables.ChainHookOutput, nftables.ChainPriorityNATDest)
	postrouting := s.base(table, "postrouting-"+n.Bridge, nat, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	publish := s.chain("publish-" + n.Bridge)

	is, not := expr.CmpOpEq, expr.CmpOpNeq
	accept, drop := verdict(expr.VerdictAccept), verdict(expr.VerdictDrop)
	masquerade := []expr.Any{&expr.Masq{}}
	bridge, subnet, subnet6 := n.Bridge, n.Subnet.Masked(), n.Subnet6.Masked()

	s.add(prerouting, fmt.Sprintf("ip daddr != 127.0.0.0/8 fib daddr type local jump publish-%s", bridge),
		"from other hosts and from containers; 127.0.0.1 is nobody else's to ask for",
		address(daddr, not, loopbackNet), daddrIsLocal(), jump(publish))
	s.add(output, fmt.Sprintf("meta nfproto ipv4 fib daddr type local jump publish-%s", bridge),
		"from the host itself, also by 127.0.0.1",
		family(unix.NFPROTO_IPV4), daddrIsLocal(), jump(publish))
	s.add(publish, "dnat ip to ip daddr . meta l4proto . th dport map @"+s.on.Name,
		"ports published on one address of the host",
		family(unix.NFPROTO_IPV4), dnatByAddressAndPort(s.on))
	s.add(publish, "meta nfproto ipv4 dnat ip to meta l4proto . th dport map @"+s.everywhere.Name,
		"ports published on all of them",
		family(unix.NFPROTO_IPV4), dnatByPort(s.everywhere))

	if !n.Internal && !n.Routed {
		s.add(postrouting, fmt.Sprintf("ip saddr %s oifname != %q masquerade", subnet, bridge),
			"what leaves the network has the host's address",
			address(saddr, is, subnet), oifname(not, bridge), masquerade)
	}
	s.add(postrouting, fmt.Sprintf("ip saddr %s oifname %q ct status dnat masquerade", subnet, bridge),
		"hairpin: the answer must come back here to be translated",
		address(saddr, is, subnet), oifname(is, bridge), ctStatusDNAT(), masquerade)
	s.add(postrouting, fmt.Sprintf("ip saddr 127.0.0.0/8 oifname %q masquerade", bridge),
		"a container cannot answer to 127.0.0.1: that is itself",
		address(saddr, is, loopbackNet), oifname(is, bridge), masquerade)

	if n.Subnet6.IsValid() {
		s.add(prerouting, fmt.Sprintf("meta nfproto ipv6 fib daddr type local jump publish-%s", bridge),
			"the same in IPv6; the kernel itself drops what comes for ::1",
			family(unix.NFPROTO_IPV6), daddrIsLocal(), jump(publish))
		s.add(output, fmt.Sprintf("ip6 daddr != ::1 fib daddr type local jump publish-%s", bridge),
			"from the host itself; nobody can answer to ::1 over a link",
			address(daddr, not, netip.MustParsePrefix("::1/128")), daddrIsLocal(), jump(publish))
		s.add(publish, "dnat ip6 to ip6 daddr . meta l4proto . th dport map @"+s.on6.Name,
			"ports published on one IPv6 address of the host",
			family(unix.NFPROTO_IPV6), dnatByAddressAndPort(s.on6))
		s.add(publish, "meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @"+s.everywhere6.Name,
			"ports published on all of them",
			family(unix.NFPROTO_IPV6), dnatByPort(s.everywhere6))
		if !n.Internal && !n.Routed6 {
			s.add(postrouting, fmt.Sprintf("ip6 saddr %s oifname != %q masquerade", subnet6, bridge),
				"what leaves the network has the host's address",
				address(saddr, is, subnet6), oifname(not, bridge), masquerade)
		}
		s.add(postrouting, fmt.Sprintf("ip6 saddr %s oifname %q ct status dnat masquerade", subnet6, bridge),
			"hairpin",
			address(saddr, is, subnet6), oifname(is, bridge), ctStatusDNAT(), masquerade)
	}

	if n.Internal {
		// Chains of its own at the hooks: of such a network not even what goes
		// on is let through.
		forward := s.base(table, n.forward(), filter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
		s.add(forward, fmt.Sprintf("iifname %q oifname %[1]q accept", bridge), "from one container to its neighbour",
			iifname(is, bridge), oifname(is, bridge), accept)
		s.add(forward, fmt.Sprintf("iifname %q drop", bridge), "an internal network has no way out",
			iifname(is, bridge), drop)
		s.add(forward, fmt.Sprintf("oifname %q drop", bridge), "and no way in",
			oifname(is, bridge), drop)
		input := s.base(table, "input-"+n.Bridge, filter, nftables.ChainHookInput, nftables.ChainPriorityFilter)
		s.add(input, fmt.Sprintf("iifname != %q accept", bridge), "not from this network",
			iifname(not, bridge), accept)
		s.add(input, "ct state established,related accept", "answers to what the host asked",
			ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept)
		s.add(input, "icmpv6 type nd-neighbor-solicit accept", "where is the host? In IPv4 this is ARP",
			icmpv6(ndNeighborSolicit), accept)
		s.add(input, "icmpv6 type nd-neighbor-advert accept", "the answer to that",
			icmpv6(ndNeighborAdvert), accept)
		s.add(input, "drop", "nor is the host a way out", drop)
	} else {
		forward := s.chain(n.forward())
		s.add(forward, fmt.Sprintf("iifname %q accept", bridge), "from one container to its neighbour",
			iifname(is, bridge), accept)
		s.add(forward, "ct status dnat accept", "published ports",
			ctStatusDNAT(), accept)
		if n.Routed {
			s.add(forward, "ip daddr . meta l4proto . th dport @"+s.open.Name+" accept", "published ports of a network that is routed to",
				family(unix.NFPROTO_IPV4), isOpen(s.open), accept)
		}
		if n.Routed6 {
			s.add(forward, "ip6 daddr . meta l4proto . th dport @"+s.open6.Name+" accept", "published ports of a network that is routed to",
				family(unix.NFPROTO_IPV6), isOpen(s.open6), accept)
		}
		s.add(forward, "drop", "nothing else gets in: not another network, not another host",
			drop)
	}
	return s
}

// forward names the chain that says what is routed into the network.
func (n *Network) forward() string { return "forward-" + n.Bridge }

// sharedRules are the chains that the packets of all networks pass.
func sharedRules() *ruleset {
	s := new(ruleset)
	s.networks = s.links(table, "networks", []nftables.SetDatatype{nftables.TypeVerdict})
	forward := s.base(table, "forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)

	s.add(forward, "ct state established,related accept",
		"what goes on was let in when it began",
		ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), verdict(expr.VerdictAccept))
	s.add(forward, "oifname vmap @networks",
		"each network says what gets in; the way out is open",
		oifnameVmap(s.networks))
	s.guardRules()
	s.shared.sets, s.shared.chains = len(s.sets), len(s.chains)
	return s
}

// membership is what the shared sets have of the network.
func (n *Network) membership(s *ruleset) map[*nftables.Set]nftables.SetElement {
	if n.Internal {
		return nil
	}
	return map[*nftables.Set]nftables.SetElement{s.networks: {
		Key:         linkKey(n.Bridge),
		VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: n.forward()},
	}}
}

// publishedPorts adds the maps from published ports to the containers'
// addresses and ports.
func (s *ruleset) publishedPorts(n *Network) {
	proto, port := nftables.TypeInetProto, nftables.TypeInetService
	ip, ip6 := nftables.TypeIPAddr, nftables.TypeIP6Addr
	to, to6 := []nftables.SetDatatype{ip, port}, []nftables.SetDatatype{ip6, port}
	s.everywhere = s.set(table, "published-"+n.Bridge, to, proto, port)
	s.on = s.set(table, "published-on-"+n.Bridge, to, ip, proto, port)
	if n.Subnet6.IsValid() {
		s.everywhere6 = s.set(table, "published6-"+n.Bridge, to6, proto, port)
		s.on6 = s.set(table, "published6-on-"+n.Bridge, to6, ip6, proto, port)
	}
	if n.Routed {
		s.open = s.set(table, "open-"+n.Bridge, nil, ip, proto, port)
	}
	if n.Routed6 {
		s.open6 = s.set(table, "open6-"+n.Bridge, nil, ip6, proto, port)
	}
}

// writeRules puts the network's chains, maps and rules into the table in one
// transaction: before it the kernel goes by the old rules, after it by the new
// ones. Adding a table, a chain or a map that exists changes nothing, and each
// chain is emptied before its rules are written, so that the result is the same
// whatever was there before. The maps keep their elements, and no connection
// notices.
func (n *Network) writeRules(ctx context.Context) error {
	s := n.ruleset()
	c := new(nftables.Conn)
	chapter.Call(ctx, "all of Drydock's rules on this host, and none of anybody else's", "sendto(NETLINK_NETFILTER, NFT_MSG_NEWTABLE inet %q, bridge %[1]q)", table.Name)
	c.AddTable(table)
	c.AddTable(frames)
	for _, ch := range s.chains {
		hook := ""
		if ch.Hooknum != nil {
			hook = fmt.Sprintf(" { type %s hook %s priority %d }", ch.Type, hooks[*ch.Hooknum], *ch.Priority)
		}
		chapter.Call(ctx, "rules live in chains, and the kernel's hooks call them", "sendto(NETLINK_NETFILTER, NFT_MSG_NEWCHAIN %q%s)", ch.Name, hook)
		c.AddChain(ch)
		c.FlushChain(ch)
	}
	for _, m := range s.sets {
		chapter.Call(ctx, "one element for each network, published port or container", "sendto(NETLINK_NETFILTER, NFT_MSG_NEWSET %q { type %s%s })", m.Name, m.KeyType.Name, mapped(m))
		if err := c.AddSet(m, nil); err != nil {
			return fmt.Errorf("map %s: %w", m.Name, err)
		}
	}
	members := n.membership(s)
	for _, set := range s.sets {
		e, ok := members[set]
		if !ok {
			continue
		}
		chapter.Call(ctx, "from now on the rules of all networks are this one's too", "sendto(NETLINK_NETFILTER, NFT_MSG_NEWSETELEM %q { %q })", set.Name, n.Bridge)
		if err := c.SetAddElements(set, []nftables.SetElement{e}); err != nil {
			return fmt.Errorf("map %s: %w", set.Name, err)
		}
	}
	for _, r := range s.rules {
		chapter.Call(ctx, r.why, "sendto(NETLINK_NETFILTER, NFT_MSG_NEWRULE %q { %s })", r.chain.Name, r.text)
		c.AddRule(&nftables.Rule{
			Table: r.chain.Table, Chain: r.chain, Exprs: slices.Concat(r.exprs...),
			UserData: userdata.AppendString(nil, userdata.TypeComment, r.why),
		})
	}
	transactions.Lock()
	err := c.Flush()
	transactions.Unlock()
	if err != nil {
		return fmt.Errorf("write the rules of network %s: %w", n.Name, err)
	}
	return nil
}

// deleteRules takes the network's chains, maps and elements out of the tables,
// whatever is left of them, and the tables when no network is in them any more.
func (n *Network) deleteRules(ctx context.Context) error {
	transactions.Lock()
	defer transactions.Unlock()
	known, err := n.known()
	if err != nil {
		return err
	}
	s := n.ruleset()
	c := new(nftables.Conn)
	chapter.Call(ctx, "the network's rules go with it", "sendto(NETLINK_NETFILTER, NFT_MSG_DELCHAIN, NFT_MSG_DELSET *-%s)", n.Bridge)
	// Removing what is not there is an error, and a transaction fails as a
	// whole; so what may be missing is added first, in the same transaction.
	c.AddTable(table)
	c.AddTable(frames)
	for _, ch := range s.chains {
		c.AddChain(ch)
	}
	for _, m := range s.sets {
		if err := c.AddSet(m, nil); err != nil {
			return fmt.Errorf("map %s: %w", m.Name, err)
		}
	}
	elements := s.guard.elements(known)
	for set, e := range n.membership(s) {
		elements[set] = []nftables.SetElement{e}
	}
	for set, es := range elements {
		err := c.SetAddElements(set, es)
		if err == nil {
			err = c.SetDeleteElements(set, es)
		}
		if err != nil {
			return fmt.Errorf("elements of %s: %w", set.Name, err)
		}
	}
	for _, ch := range s.ownChains() {
		c.FlushChain(ch)
	}
	for _, ch := range s.ownChains() {
		c.DelChain(ch)
	}
	for _, m := range s.ownSets() {
		c.DelSet(m)
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove the rules of network %s: %w", n.Name, err)
	}
	return deleteTables(ctx)
}

// mapped is the second half of a map's type.
func mapped(s *nftables.Set) string {
	if !s.IsMap {
		return ""
	}
	return " : " + s.DataType.Name
}

// deleteTables removes the tables and what is shared in them, unless another
// network, perhaps another engine's, has something there. The kernel decides, by
// NLM_F_NONREC ("not recursively"): to look first and remove then would be a
// race, and lose the other's rules. The nftables package cannot say that flag, so
// the transaction is made here: messages of a struct nfgenmsg and names, between
// a batch's two ends.
func deleteTables(ctx context.Context) error {
	chapter.Call(ctx, "the last network takes the tables with it; if it is not the last the kernel says EBUSY", "sendto(NETLINK_NETFILTER, NFT_MSG_DELTABLE inet %q, bridge %[1]q NLM_F_NONREC)", table.Name)
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer conn.Close()
	s := sharedRules()
	batch := []netlink.Message{batchEnd(unix.NFNL_MSG_BATCH_BEGIN)}
	for _, ch := range s.chains { // emptied first, as their rules speak of the sets
		batch = append(batch, removal(unix.NFT_MSG_DELRULE, ch.Table, unix.NFTA_RULE_TABLE, unix.NFTA_RULE_CHAIN, ch.Name))
	}
	for _, ch := range s.chains {
		batch = append(batch, removal(unix.NFT_MSG_DELCHAIN, ch.Table, unix.NFTA_CHAIN_TABLE, unix.NFTA_CHAIN_NAME, ch.Name))
	}
	for _, m := range s.sets {
		batch = append(batch, removal(unix.NFT_MSG_DELSET, m.Table, unix.NFTA_SET_TABLE, unix.NFTA_SET_NAME, m.Name))
	}
	for _, t := range []*nftables.Table{table, frames} {
		batch = append(batch, removal(unix.NFT_MSG_DELTABLE, t, unix.NFTA_TABLE_NAME, 0, ""))
	}
	batch[len(batch)-1].Header.Flags |= netlink.Acknowledge // the kernel answers to this one, and to what fails
	batch = append(batch, batchEnd(unix.NFNL_MSG_BATCH_END))
	if _, err = conn.SendMessages(batch); err == nil {
		_, err = conn.Receive()
	}
	if err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove the tables %s: %w", table.Name, err)
	}
	return nil
}

// removal is a message that removes what has this name in t, and t itself where
// nameAttribute is 0, if nothing uses it and nothing is in it.
func removal(kind netlink.HeaderType, t *nftables.Table, tableAttribute, nameAttribute uint16, name string) netlink.Message {
	const notRecursively = 0x100 // NLM_F_NONREC, linux/netlink.h
	names := netlink.NewAttributeEncoder()
	names.String(tableAttribute, t.Name)
	if nameAttribute != 0 {
		names.String(nameAttribute, name)
	}
	data, err := names.Encode()
	if err != nil {
		panic(err) // a name of 64 KB
	}
	return netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | kind, Flags: netlink.Request | notRecursively},
		Data:   append([]byte{byte(t.Family), unix.NFNETLINK_V0, 0, 0}, data...),
	}
}

func batchEnd(kind netlink.HeaderType) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES},
	}
}

var families = map[nftables.TableFamily]string{
	nftables.TableFamilyINet: "inet", nftables.TableFamilyBridge: "bridge", nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6",
}

var hooks = map[nftables.ChainHook]string{
	*nftables.ChainHookPrerouting:  "prerouting",
	*nftables.ChainHookForward:     "forward",
	*nftables.ChainHookInput:       "input",
	*nftables.ChainHookOutput:      "output",
	*nftables.ChainHookPostrouting: "postrouting",
}
