//go:build linux

package networking

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/doctor"
)

// A drop is somebody's chain that may drop what the host forwards. An accept in
// our table does not help against it: each table's chains are called, and a
// drop is final.
type drop struct {
	where string // "ip filter FORWARD"
	ipv6  bool   // it sees IPv6 packets only
	owner string // who makes such chains: "Docker", "ufw", "firewalld", "iptables-legacy"; "" for somebody
}

// forwardDrops reads the chains of all tables (nftables' own and those of
// iptables-nft, which are the same) in this network namespace. The tables of
// iptables-legacy are elsewhere, and only their names can be read.
func forwardDrops() ([]drop, error) {
	chains, err := new(nftables.Conn).ListChains()
	if err != nil {
		return nil, fmt.Errorf("list the chains of nftables: %w", err)
	}
	names, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return append(dropsOf(chains), legacyDrops(string(names))...), nil
}

func dropsOf(chains []*nftables.Chain) []drop {
	var drops []drop
	for _, c := range chains {
		// Of the families only these see packets that are routed.
		routed := slices.Contains([]nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyIPv4, nftables.TableFamilyIPv6}, c.Table.Family)
		if !routed || c.Hooknum == nil || *c.Hooknum != *nftables.ChainHookForward || c.Table.Name == table.Name {
			continue
		}
		d := drop{where: fmt.Sprintf("%s %s %s", families[c.Table.Family], c.Table.Name, c.Name), ipv6: c.Table.Family == nftables.TableFamilyIPv6, owner: ownerOf(c.Table, chains)}
		// firewalld's chain accepts by policy and rejects by its last rule.
		if c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop || d.owner == "firewalld" {
			drops = append(drops, d)
		}
	}
	return drops
}

// ownerOf tells who made a table by the other chains in it. Where several
// share one, the one whose policy it is comes first: ufw sets it, and Docker
// sets it when it finds forwarding off.
func ownerOf(t *nftables.Table, chains []*nftables.Chain) string {
	if t.Name == "firewalld" {
		return "firewalld"
	}
	has := func(prefix string) bool {
		return slices.ContainsFunc(chains, func(c *nftables.Chain) bool {
			return c.Table.Name == t.Name && c.Table.Family == t.Family && strings.HasPrefix(c.Name, prefix)
		})
	}
	switch {
	case has("ufw"):
		return "ufw"
	case has("DOCKER"):
		return "Docker"
	}
	return ""
}

func legacyDrops(names string) []drop {
	if !slices.Contains(strings.Fields(names), "filter") {
		return nil
	}
	return []drop{{where: "iptables-legacy filter FORWARD", owner: "iptables-legacy"}}
}

// cure returns the commands that let a bridge's packets through.
func (d drop) cure() []string {
	const bridge = "    # BRIDGE: the network's, as ip -br link show type bridge lists it"
	switch d.owner {
	case "Docker":
		iptables := "iptables"
		if d.ipv6 {
			iptables = "ip6tables"
		}
		return []string{fmt.Sprintf("sudo %s -I DOCKER-USER -i BRIDGE -j ACCEPT && sudo %[1]s -I DOCKER-USER -o BRIDGE -j ACCEPT", iptables) + bridge}
	case "ufw":
		return []string{"sudo ufw route allow in on BRIDGE && sudo ufw route allow out on BRIDGE" + bridge}
	case "firewalld":
		return []string{"sudo firewall-cmd --permanent --zone=trusted --add-interface=BRIDGE && sudo firewall-cmd --reload" + bridge}
	case "iptables-legacy":
		return []string{"sudo iptables-legacy -S FORWARD    # if it begins with -P FORWARD DROP:",
			"sudo iptables-legacy -I FORWARD -i BRIDGE -j ACCEPT && sudo iptables-legacy -I FORWARD -o BRIDGE -j ACCEPT" + bridge}
	}
	return []string{fmt.Sprintf("sudo nft insert rule %s iifname BRIDGE accept && sudo nft insert rule %[1]s oifname BRIDGE accept", d.where) + bridge}
}

func firewall(drops []drop, err error, euid int) doctor.Result {
	switch {
	case (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)) && euid != 0:
		return doctor.NeedsRoot()
	case err != nil:
		return doctor.Result{Status: doctor.Unknown, Found: err.Error()}
	case len(drops) == 0:
		return doctor.Fine("none that drops what is forwarded")
	}
	r := doctor.Result{
		Status: doctor.Limited,
		Breaks: "containers reach no other host, and published ports are not reached from other hosts",
		Why:    "every table is asked about a packet, and a drop in one of them is final, whatever ours accepts",
	}
	if !slices.ContainsFunc(drops, func(d drop) bool { return !d.ipv6 }) {
		r.Breaks += ", by IPv6"
	}
	var found []string
	for _, d := range drops {
		who := "the chain " + d.where
		if d.owner != "" {
			who = d.owner + "'s chain, " + d.where
		}
		found = append(found, who)
		for _, c := range d.cure() {
			if !slices.Contains(r.Cure, c) {
				r.Cure = append(r.Cure, c)
			}
		}
	}
	r.Found = strings.Join(found, "; ") + " may drop what is forwarded"
	return r
}
