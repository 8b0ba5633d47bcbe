// Package networking gives a container a network: a bridge in the host, a veth
// pair for each container, and nftables rules that translate addresses.
//
//	n := &networking.Network{Name: "bridge", Bridge: "dd0", Subnet: …, Gateway: …}
//	err := n.Create(ctx)                    // bridge, gateway, sysctls, rules
//	ns, err := networking.NewNamespace(ctx) // a network stack with nobody in it
//	ep := &networking.Endpoint{Address: …, Ports: …}
//	err = n.Connect(ctx, ns, ep)            // the cable, and the ports that lead in
//	…                                       // a container joins ns by its descriptor
//	err = n.Disconnect(ctx, ep)
//
// Each function changes what it says and undoes it when it fails; Create also
// repairs, so that an engine calls it at every start. Nothing is remembered
// here: [Network.Endpoints] reads what there is out of the kernel, and the
// kernel is right. A container's namespace lives as long as a descriptor or a
// process holds it, and its cable goes with it.
//
// All rules are in one nftables table, "drydock" (in the family inet for packets,
// in the family bridge for frames), and a network's chains and maps bear its
// bridge's name. So several networks, and several engines, share the table and
// never touch each other's part, nor anybody's rules outside of it.
// A published port is an element of a map: what it costs a packet does not
// depend on how many there are.
//
// Links are made by rtnetlink(7), rules by nf_tables over netlink(7); no program
// is called. Linux 5.6 or newer is needed.
//
// # What is not safe
//
//   - Create makes the host a router (net.ipv4.ip_forward, and where the network
//     has IPv6 net.ipv6.conf.all.forwarding) and leaves it one. It forwards for
//     whoever asks, between all of its links; what the containers get is filtered
//     here, what the host's other networks get is not.
//   - A container reaches every service that listens on the gateway's address or
//     on all addresses of the host, unless its network is Internal. The host's
//     localhost it does not reach.
//   - An [Endpoint] that is a Router is not guarded: it can send under all
//     addresses, those of its neighbours and of the gateway too.
//   - After a flush, between [Network.Create] and the [Network.Publish] of an
//     endpoint, that container's frames are not checked.
//   - A firewall of the host that drops forwarded packets, as Docker's and ufw's
//     do, drops the containers' too: an accept in one table does not overrule
//     a drop in another.
//   - [Reserve] keeps others from a port of the host as long as its process
//     lives. The rules outlive it: until it is reserved again, another
//     program that binds the port gets no traffic and no error.
package networking
