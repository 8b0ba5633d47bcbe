//go:build linux

package hosttest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nftablesLines lists the tables, chains, rules and sets of the network
// namespace by name and handle. A kernel without nftables has none.
func nftablesLines() ([]string, error) {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, nil
	}
	defer unix.Close(s)
	var lines []string
	// The numbers of the attributes (linux/netfilter/nf_tables.h, enum
	// nft_table_attributes and its sisters), in the order they are shown.
	for _, kind := range []struct {
		what  string
		get   uint16
		names []uint16
		// handle is the attribute that tells one rule from another.
		handle uint16
	}{
		{"table", unix.NFT_MSG_GETTABLE, []uint16{unix.NFTA_TABLE_NAME}, 0},
		{"chain", unix.NFT_MSG_GETCHAIN, []uint16{unix.NFTA_CHAIN_TABLE, unix.NFTA_CHAIN_NAME}, 0},
		{"rule", unix.NFT_MSG_GETRULE, []uint16{unix.NFTA_RULE_TABLE, unix.NFTA_RULE_CHAIN}, unix.NFTA_RULE_HANDLE},
		{"set", unix.NFT_MSG_GETSET, []uint16{unix.NFTA_SET_TABLE, unix.NFTA_SET_NAME}, 0},
	} {
		messages, err := dump(s, unix.NFNL_SUBSYS_NFTABLES<<8|kind.get)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
			return lines, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list nftables %ss: %w", kind.what, err)
		}
		for _, m := range messages {
			line := "nftables " + kind.what
			for _, n := range kind.names {
				line += " " + strings.TrimRight(string(attribute(m, n)), "\x00")
			}
			if kind.handle != 0 {
				line += fmt.Sprintf(" handle %x", attribute(m, kind.handle))
			}
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// dump sends one NLM_F_DUMP request of nfnetlink (struct nfgenmsg, family
// unspecified) and returns the attributes of each message of the answer.
func dump(s int, kind uint16) ([][]byte, error) {
	request := struct {
		unix.NlMsghdr
		family, version uint8
		resource        uint16
	}{NlMsghdr: unix.NlMsghdr{Type: kind, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP}}
	request.Len = uint32(unsafe.Sizeof(request))
	b := unsafe.Slice((*byte)(unsafe.Pointer(&request)), request.Len)
	if err := unix.Sendto(s, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	var all [][]byte
	for buffer := make([]byte, 64<<10); ; {
		n, _, err := unix.Recvfrom(s, buffer, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return all, nil
			case unix.NLMSG_ERROR:
				if len(m.Data) >= 4 {
					return nil, unix.Errno(-*(*int32)(unsafe.Pointer(&m.Data[0])))
				}
			}
			if len(m.Data) > 4 { // struct nfgenmsg
				all = append(all, append([]byte(nil), m.Data[4:]...))
			}
		}
	}
}

// attribute returns the value of the first attribute of that kind.
func attribute(b []byte, kind uint16) []byte {
	for len(b) >= unix.SizeofNlAttr {
		a := (*unix.NlAttr)(unsafe.Pointer(&b[0]))
		if int(a.Len) < unix.SizeofNlAttr || int(a.Len) > len(b) {
			return nil
		}
		if a.Type&0x3fff == kind { // without NLA_F_NESTED, NLA_F_NET_BYTEORDER
			return b[unix.SizeofNlAttr:a.Len]
		}
		b = b[min((int(a.Len)+3)&^3, len(b)):]
	}
	return nil
}
