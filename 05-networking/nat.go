//go:build linux

package networking

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Every network of every engine on this host has its rules in the one table
// "drydock". A network's chains and maps carry its bridge's name, and no rule
// of one network speaks of another: they come and go without knowing of each
// other. The kernel calls each network's chains at its hooks one after the
// other; an accept ends only the chain that says it, a drop is final.
var table = &nftables.Table{Name: "drydock", Family: nftables.TableFamilyIPv4}

// ruleset is what a network has in the table.
type ruleset struct {
	everywhere *nftables.Set // protocol . port : address . port
	on         *nftables.Set // host address . protocol . port : address . port
	chains     []*nftables.Chain
	rules      []rule
}

// rule is one rule: as nft prints it, why it is there (also its comment in the
// kernel), and as the kernel takes it.
type rule struct {
	chain *nftables.Chain
	text  string
	why   string
	exprs [][]expr.Any
}

var loopbackNet = netip.MustParsePrefix("127.0.0.0/8")

// ruleset returns the network's chains, maps and rules. This list is what
// `nft list table ip drydock` shows, in the same order.
func (n *Network) ruleset() *ruleset {
	s := &ruleset{
		everywhere: portMap("published-"+n.Bridge, 1, nftables.TypeInetProto, nftables.TypeInetService),
		on:         portMap("published-on-"+n.Bridge, 2, nftables.TypeIPAddr, nftables.TypeInetProto, nftables.TypeInetService),
	}
	base := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
		accept := nftables.ChainPolicyAccept
		c := &nftables.Chain{Table: table, Name: name + "-" + n.Bridge, Type: kind, Hooknum: hook, Priority: priority, Policy: &accept}
		s.chains = append(s.chains, c)
		return c
	}
	loopback := base("loopback", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	prerouting := base("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest)
	output := base("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest)
	postrouting := base("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	forward := base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	publish := &nftables.Chain{Table: table, Name: "publish-" + n.Bridge}
	s.chains = append(s.chains, publish)

	is, not := expr.CmpOpEq, expr.CmpOpNeq
	accept, drop := verdict(expr.VerdictAccept), verdict(expr.VerdictDrop)
	masquerade := []expr.Any{&expr.Masq{}}
	add := func(c *nftables.Chain, text, why string, exprs ...[]expr.Any) {
		s.rules = append(s.rules, rule{c, text, why, exprs})
	}
	bridge, subnet := n.Bridge, n.Subnet.Masked()

	add(loopback, fmt.Sprintf("iifname %q ip daddr 127.0.0.0/8 drop", bridge),
		"no container reaches what listens on the host's localhost",
		iifname(is, bridge), address(daddr, is, loopbackNet), drop)
	add(loopback, fmt.Sprintf("iifname %q ip saddr 127.0.0.0/8 drop", bridge),
		"no container speaks as the host's localhost",
		iifname(is, bridge), address(saddr, is, loopbackNet), drop)

	add(prerouting, fmt.Sprintf("ip daddr != 127.0.0.0/8 fib daddr type local jump publish-%s", bridge),
		"from other hosts and from containers; 127.0.0.1 is nobody else's to ask for",
		address(daddr, not, loopbackNet), daddrIsLocal(), jump(publish))
	add(output, fmt.Sprintf("fib daddr type local jump publish-%s", bridge),
		"from the host itself, also by 127.0.0.1",
		daddrIsLocal(), jump(publish))
	add(publish, "dnat ip to ip daddr . meta l4proto . th dport map @"+s.on.Name,
		"ports published on one address of the host",
		dnatByAddressAndPort(s.on))
	add(publish, "dnat ip to meta l4proto . th dport map @"+s.everywhere.Name,
		"ports published on all of them",
		dnatByPort(s.everywhere))

	add(postrouting, fmt.Sprintf("ip saddr %s oifname != %q masquerade", subnet, bridge),
		"what leaves the network has the host's address",
		address(saddr, is, subnet), oifname(not, bridge), masquerade)
	add(postrouting, fmt.Sprintf("ip saddr %s oifname %q ct status dnat masquerade", subnet, bridge),
		"hairpin: the answer must come back here to be translated",
		address(saddr, is, subnet), oifname(is, bridge), ctStatusDNAT(), masquerade)
	add(postrouting, fmt.Sprintf("ip saddr 127.0.0.0/8 oifname %q masquerade", bridge),
		"a container cannot answer to 127.0.0.1: that is itself",
		address(saddr, is, loopbackNet), oifname(is, bridge), masquerade)

	add(forward, fmt.Sprintf("oifname != %q accept", bridge), "not for this network",
		oifname(not, bridge), accept)
	add(forward, fmt.Sprintf("iifname %q accept", bridge), "from one container to its neighbour",
		iifname(is, bridge), accept)
	add(forward, "ct state established,related accept", "answers to what a container asked",
		ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept)
	add(forward, "ct status dnat accept", "published ports",
		ctStatusDNAT(), accept)
	add(forward, "drop", "nothing else gets in: not another network, not another host",
		drop)
	return s
}

// portMap describes a map from published ports to the containers' addresses
// and ports. The ID is its name within a transaction.
func portMap(name string, id uint32, key ...nftables.SetDatatype) *nftables.Set {
	concat := func(types ...nftables.SetDatatype) nftables.SetDatatype {
		t, err := nftables.ConcatSetType(types...)
		if err != nil {
			panic(err) // more than five types
		}
		return t
	}
	return &nftables.Set{
		Table: table, Name: name, ID: id, IsMap: true, Concatenation: true,
		KeyType:  concat(key...),
		DataType: concat(nftables.TypeIPAddr, nftables.TypeInetService),
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
	chapter.Call(ctx, "all of Drydock's rules on this host, and none of anybody else's", "sendto(NETLINK_NETFILTER, NFT_MSG_NEWTABLE ip %q)", table.Name)
	c.AddTable(table)
	for _, ch := range s.chains {
		hook := ""
		if ch.Hooknum != nil {
			hook = fmt.Sprintf(" { type %s hook %s priority %d }", ch.Type, hooks[*ch.Hooknum], *ch.Priority)
		}
		chapter.Call(ctx, "rules live in chains, and the kernel's hooks call them", "sendto(NETLINK_NETFILTER, NFT_MSG_NEWCHAIN %q%s)", ch.Name, hook)
		c.AddChain(ch)
		c.FlushChain(ch)
	}
	for _, m := range []*nftables.Set{s.everywhere, s.on} {
		chapter.Call(ctx, "published ports: one element each", "sendto(NETLINK_NETFILTER, NFT_MSG_NEWSET %q { type %s : %s })", m.Name, m.KeyType.Name, m.DataType.Name)
		if err := c.AddSet(m, nil); err != nil {
			return fmt.Errorf("map %s: %w", m.Name, err)
		}
	}
	for _, r := range s.rules {
		chapter.Call(ctx, r.why, "sendto(NETLINK_NETFILTER, NFT_MSG_NEWRULE %q { %s })", r.chain.Name, r.text)
		c.AddRule(&nftables.Rule{
			Table: table, Chain: r.chain, Exprs: slices.Concat(r.exprs...),
			UserData: userdata.AppendString(nil, userdata.TypeComment, r.why),
		})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("write the rules of network %s: %w", n.Name, err)
	}
	return nil
}

// deleteRules takes the network's chains and maps out of the table, whatever is
// left of them, and the table when no network is in it any more.
func (n *Network) deleteRules(ctx context.Context) error {
	s := n.ruleset()
	c := new(nftables.Conn)
	chapter.Call(ctx, "the network's rules go with it", "sendto(NETLINK_NETFILTER, NFT_MSG_DELCHAIN, NFT_MSG_DELSET *-%s)", n.Bridge)
	// Removing what is not there is an error, and a transaction fails as a
	// whole; so what may be missing is added first, in the same transaction.
	c.AddTable(table)
	for _, ch := range s.chains {
		c.AddChain(ch)
		c.FlushChain(ch)
	}
	for _, ch := range s.chains {
		c.DelChain(ch)
	}
	for _, m := range []*nftables.Set{s.everywhere, s.on} {
		if err := c.AddSet(m, nil); err != nil {
			return fmt.Errorf("map %s: %w", m.Name, err)
		}
		c.DelSet(m)
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove the rules of network %s: %w", n.Name, err)
	}
	return deleteEmptyTable(ctx)
}

// deleteEmptyTable removes the table unless another network, perhaps another
// engine's, has something in it. The kernel decides, by NLM_F_NONREC ("not
// recursively"): to look first and remove then would be a race, and lose the
// other's rules. The nftables package cannot say that flag, so the message is
// made here: struct nfgenmsg, then the table's name, between a batch's two ends.
func deleteEmptyTable(ctx context.Context) error {
	chapter.Call(ctx, "the last network takes the table with it; if it is not the last the kernel says EBUSY", "sendto(NETLINK_NETFILTER, NFT_MSG_DELTABLE ip %q NLM_F_NONREC)", table.Name)
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer conn.Close()
	name, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: unix.NFTA_TABLE_NAME, Data: []byte(table.Name + "\x00")}})
	if err != nil {
		return err
	}
	const notRecursively = 0x100 // NLM_F_NONREC, linux/netlink.h
	ends := []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES}
	_, err = conn.SendMessages([]netlink.Message{
		{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: netlink.Request}, Data: ends},
		{
			Header: netlink.Header{
				Type:  unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELTABLE,
				Flags: netlink.Request | netlink.Acknowledge | notRecursively,
			},
			Data: append([]byte{byte(table.Family), unix.NFNETLINK_V0, 0, 0}, name...),
		},
		{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_END, Flags: netlink.Request}, Data: ends},
	})
	if err == nil {
		_, err = conn.Receive()
	}
	if err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove table %s: %w", table.Name, err)
	}
	return nil
}

var hooks = map[nftables.ChainHook]string{
	*nftables.ChainHookPrerouting:  "prerouting",
	*nftables.ChainHookForward:     "forward",
	*nftables.ChainHookOutput:      "output",
	*nftables.ChainHookPostrouting: "postrouting",
}
