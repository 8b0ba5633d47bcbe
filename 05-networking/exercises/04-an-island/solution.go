//go:build linux && solution

// Package anisland is an exercise of chapter 5.
package anisland

import (
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Isolate keeps everybody but the bridge's own containers from beginning a
// conversation with one of them, by rules in a table "exercise" of family ip.
func Isolate(bridge string) error {
	c := new(nftables.Conn)
	table := c.AddTable(&nftables.Table{Name: "exercise", Family: nftables.TableFamilyIPv4})
	forward := c.AddChain(&nftables.Chain{
		Table: table, Name: "forward", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	})
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, bridge)
	add := func(verdict expr.VerdictKind, exprs ...expr.Any) {
		c.AddRule(&nftables.Rule{Table: table, Chain: forward, Exprs: append(exprs, &expr.Verdict{Kind: verdict})})
	}
	// oifname != bridge accept
	add(expr.VerdictAccept,
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: name})
	// iifname bridge accept: neighbours, where br_netfilter shows them here
	add(expr.VerdictAccept,
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name})
	// ct state established,related accept
	add(expr.VerdictAccept,
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)})
	add(expr.VerdictDrop)
	return c.Flush()
}
