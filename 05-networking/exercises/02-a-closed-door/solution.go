//go:build linux && solution

// Package acloseddoor is an exercise of chapter 5.
package acloseddoor

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Close keeps every container on the bridge from reaching the address, by a
// rule in a table "exercise" of family ip. Nothing else changes.
func Close(bridge string, address netip.Addr) error {
	c := new(nftables.Conn)
	table := c.AddTable(&nftables.Table{Name: "exercise", Family: nftables.TableFamilyIPv4})
	forward := c.AddChain(&nftables.Chain{
		Table: table, Name: "forward", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	})
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, bridge)
	c.AddRule(&nftables.Rule{Table: table, Chain: forward, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: address.AsSlice()},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	return c.Flush()
}
