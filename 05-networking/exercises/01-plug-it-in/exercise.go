//go:build linux && !solution

// Package plugitin is an exercise of chapter 5.
package plugitin

import (
	"errors"
	"net/netip"
	"os"
)

// Plug makes a veth pair: one end, called cable0, is a port of the bridge, the
// other is eth0 in the network namespace ns and has the address. Both are up.
func Plug(ns *os.File, bridge string, address netip.Prefix) error {
	return errors.New("not solved yet")
}
