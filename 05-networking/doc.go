// Package networking gives a container a network: a bridge in the host, a veth
// pair for each container, and nftables rules that translate addresses.
package networking
