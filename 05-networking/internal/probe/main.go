//go:build linux

// Probe is what the chapter's experiments run on either side of a cable:
//
//	probe links             what the namespace has: links, addresses, the default route
//	probe serve N ADDRESS   answer N TCP connections, then end
//	probe ask ADDRESS       connect, once somebody listens, and print the answer
//	probe hear ADDRESS      print the first datagram that comes within two seconds
//	probe forge ADDRESS [IP]
//	                        send datagrams to ADDRESS straight to the gateway, by a raw
//	                        socket, whatever the routing table says, for two seconds; as
//	                        IP, whoever that is
//
// Every ADDRESS is IP:PORT. It is one static file, so that a container's root
// needs nothing else.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "links":
		return links()
	case len(args) == 3 && args[0] == "serve":
		return serve(args[1], args[2])
	case len(args) == 2 && args[0] == "ask":
		return ask(args[1])
	case len(args) == 2 && args[0] == "hear":
		return hear(args[1])
	case len(args) == 2 && args[0] == "forge":
		return forge(args[1], "")
	case len(args) == 3 && args[0] == "forge":
		return forge(args[1], args[2])
	}
	return errors.New("usage: probe links | serve N ADDRESS | ask ADDRESS | hear ADDRESS | forge ADDRESS [IP]")
}

func links() error {
	all, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, l := range all {
		addresses, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, a := range addresses {
			if !a.IP.IsLinkLocalUnicast() {
				fmt.Println(l.Attrs().Name, a.IPNet)
			}
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_DST)
		if err != nil {
			return err
		}
		for _, r := range routes {
			fmt.Println("default via", r.Gw)
		}
	}
	return nil
}

func serve(times, address string) error {
	n, err := strconv.Atoi(times)
	if err != nil {
		return err
	}
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for range n {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		fmt.Fprintf(conn, "hello %s, this is %s\n", host, name)
		conn.Close()
	}
	return nil
}

func ask(address string) error {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		// One attempt to the end: one that is given up after a second may have
		// connected by its first repetition, and count as an answer at the other side.
		conn, err := net.DialTimeout("tcp", address, time.Until(end))
		if err != nil && time.Now().Before(end) {
			continue
		}
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = io.Copy(os.Stdout, conn)
		return err
	}
}

func hear(address string) error {
	conn, err := net.ListenPacket("udp4", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	buf := make([]byte, 1500)
	n, from, err := conn.ReadFrom(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		fmt.Println("silence")
		return nil
	}
	if err != nil {
		return err
	}
	host, _, _ := net.SplitHostPort(from.String())
	fmt.Printf("heard %q from %s\n", buf[:n], host)
	return nil
}

// forge writes whole Ethernet frames. It takes CAP_NET_RAW, which containers
// have by default, for ping. The sender is as; "": the container itself.
func forge(address, as string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	addresses, err := netlink.AddrList(eth0, netlink.FAMILY_V4)
	if err != nil || len(addresses) == 0 {
		return fmt.Errorf("eth0's address: %w", err)
	}
	self := addresses[0].IP.To4()
	// The bridge's Ethernet address is made from its IP address, the subnet's first.
	gateway := net.HardwareAddr{0x02, 0xdd, self[0], self[1], self[2], 1}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	source := self
	if as != "" {
		if source = net.ParseIP(as).To4(); source == nil {
			return fmt.Errorf("%q is no IPv4 address", as)
		}
	}
	frame := datagram(eth0.Attrs().HardwareAddr, gateway, source, to, "open sesame")
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: eth0.Attrs().Index}); err != nil {
			return os.NewSyscallError("sendto", err)
		}
	}
	return nil
}

// datagram is an Ethernet frame with an IPv4 packet with a UDP datagram (RFC
// 791, RFC 768; a UDP checksum of 0 is none).
func datagram(from, to net.HardwareAddr, src net.IP, dst netip.AddrPort, text string) []byte {
	udp := binary.BigEndian.AppendUint16(nil, 4444)
	udp = binary.BigEndian.AppendUint16(udp, dst.Port())
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(text)))
	udp = append(append(udp, 0, 0), text...)

	ip := []byte{0x45, 0}
	ip = binary.BigEndian.AppendUint16(ip, uint16(20+len(udp)))
	ip = append(ip, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0)
	ip = append(append(ip, src...), dst.Addr().AsSlice()...)
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))

	frame := append(append([]byte{}, to...), from...)
	frame = append(frame, 0x08, 0x00) // EtherType: IPv4
	return append(append(frame, ip...), udp...)
}
