// Package dns is the name server that a container on a user's network finds at
// 127.0.0.11. It knows the names of the containers that share a network with
// it, and asks the host's resolvers for everything else.
//
//	names := new(dns.Registry) // one for all containers
//	names.Add("backend", dns.Record{Name: "db", Aliases: []string{"postgres"}, Addresses: …})
//	s, err := dns.Listen(ctx, ns, names, dns.View{Networks: []string{"backend"}, Upstreams: …})
//	…                              // in there db, postgres and db.backend have addresses
//	err = s.Set(dns.View{…})       // after it was connected to a further network
//	err = s.Close()
//
// There is one server for each container, and its sockets are in the
// container's own network namespace. The other way is one server for each
// network, on the gateway's address in the host. That would take no rule in the
// container, but it tells who asks by the source address, which a neighbour
// can write into a packet; it meets whatever the host has on port 53 and
// whatever firewall the host has; a macvlan's containers do not reach it; and
// many a configuration file names Docker's address, 127.0.0.11. A socket in the
// container's namespace knows who asks, because nobody else can.
//
// The server does not take port 53, which a container's program may want. It
// has a port that the kernel chose, and one nftables rule in the container's
// namespace leads there what is sent to port 53 of 127.0.0.11.
//
// # What is not safe
//
//   - The server lives in the daemon. While that is away, questions are refused
//     at once; [Listen] on the same namespace puts everything back.
//   - Whoever has CAP_NET_ADMIN in the container can remove the rule. It loses
//     its own names by that, nobody else's.
//   - What is forwarded leaves through the host, also where the container's own
//     packets would not get out. For a network without a way out the caller
//     gives no upstream of the host.
//   - Answers of upstreams are believed (no DNSSEC), with their identifier and
//     question compared.
package dns
