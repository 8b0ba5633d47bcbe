//go:build linux

package networking

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/doctor"
)

const (
	forwardFile   = "/proc/sys/net/ipv4/ip_forward"
	netfilterFile = "/proc/sys/net/bridge/bridge-nf-call-iptables"
)

// Checks returns this chapter's questions to the host.
func Checks() []doctor.Check {
	return []doctor.Check{
		{Chapter: chapter, Name: "bridge", For: "a switch for the containers of a network", Run: func(ctx context.Context) doctor.Result {
			return tryLink(ctx, &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "dd0"}})
		}},
		{Chapter: chapter, Name: "veth", For: "the cable between a container and the bridge", Run: func(ctx context.Context) doctor.Result {
			return tryLink(ctx, &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "dd0"}, PeerName: "dd1"})
		}},
		{Chapter: chapter, Name: "nftables", For: "address translation, and published ports", Run: tryRules},
		{Chapter: chapter, Name: "ip_forward", For: "packets between a bridge and the host's other links", Run: func(context.Context) doctor.Result {
			now, err := os.ReadFile(forwardFile)
			return forwarding(string(now), err, unix.Access(forwardFile, unix.W_OK), os.Geteuid())
		}},
		{Chapter: chapter, Name: "firewall", For: "packets between containers and the world", Run: func(context.Context) doctor.Result {
			drops, err := forwardDrops()
			return firewall(drops, err, os.Geteuid())
		}},
		{Chapter: chapter, Name: "br_netfilter", For: "packets from one container to its neighbour", Run: func(context.Context) doctor.Result {
			now, err := os.ReadFile(netfilterFile)
			drops, unread := forwardDrops()
			if err == nil && unread != nil {
				return firewall(nil, unread, os.Geteuid())
			}
			return bridged(string(now), err, drops)
		}},
		{Chapter: chapter, Name: "tun", For: "the network of a container without root", Run: func(context.Context) doctor.Result {
			return tunFound(os.Stat(tunDevice))
		}},
	}
}

// tryLink makes a link in a network namespace that nobody else is in.
func tryLink(ctx context.Context, link netlink.Link) doctor.Result {
	return linkFound(link.Type(), os.Geteuid(), doctor.Apart(ctx, unix.CLONE_NEWNET, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		chapter.Call(ctx, "is there such a thing?", "sendto(NETLINK_ROUTE, RTM_NEWLINK ifname=%q kind=%q)", link.Attrs().Name, link.Type())
		return h.LinkAdd(link)
	}))
}

func linkFound(kind string, euid int, err error) doctor.Result {
	switch {
	case err == nil:
		return doctor.Fine("works")
	case errors.Is(err, unix.EPERM) && euid != 0:
		return doctor.NeedsRoot()
	}
	r := doctor.Result{Status: doctor.Missing, Found: err.Error(), Breaks: "networks: containers have none, or the host's",
		Why: "links may not be made here: this is the inside of a container", Cure: []string{"docker run --privileged …    # start that container with all capabilities, or work on the host"}}
	if errors.Is(err, unix.EOPNOTSUPP) {
		r.Why = "the kernel has no links of the kind " + kind + ", or has them as a module that is not loaded"
		r.Cure = []string{"sudo modprobe " + kind + "    # if that finds none, the kernel was upgraded and the machine not rebooted"}
	}
	return r
}

// tryRules writes a network's rules into a network namespace that nobody else is in.
func tryRules(ctx context.Context) doctor.Result {
	n := &Network{Name: "doctor", Bridge: "dd0", Subnet: netip.MustParsePrefix("192.0.2.0/24"), Gateway: netip.MustParseAddr("192.0.2.1"),
		Subnet6: netip.MustParsePrefix("2001:db8::/64"), Gateway6: netip.MustParseAddr("2001:db8::1")}
	return rulesFound(os.Geteuid(), doctor.Apart(ctx, unix.CLONE_NEWNET, func() error { return n.writeRules(ctx) }))
}

func rulesFound(euid int, err error) doctor.Result {
	switch {
	case err == nil:
		return doctor.Fine("works, with NAT, maps, connection tracking and rules for frames")
	case errors.Is(err, unix.EPERM) && euid != 0:
		return doctor.NeedsRoot()
	}
	return doctor.Result{
		Status: doctor.Missing, Found: err.Error(), Breaks: "networks: containers have none, or the host's",
		Why: "the kernel lacks a part of nf_tables, or has it as a module that is not loaded",
		Cure: []string{"sudo modprobe -a nf_tables nft_ct nft_chain_nat nft_nat nft_masq nft_fib_inet",
			"zgrep NFT_ /proc/config.gz    # or /boot/config-$(uname -r): what it was built with"},
	}
}

// forwarding judges the content of ip_forward, the error of reading it, and
// whether it may be written.
func forwarding(now string, readErr, writable error, euid int) doctor.Result {
	switch now = strings.TrimSpace(now); {
	case readErr != nil:
		return doctor.Result{Status: doctor.Unknown, Found: readErr.Error()}
	case now == "1":
		return doctor.Fine("on")
	case writable == nil:
		return doctor.Fine("off; the first network switches it on")
	case euid != 0:
		return doctor.Fine("off; root's first network switches it on")
	}
	return doctor.Result{
		Status: doctor.Missing, Found: "off, and " + (&os.PathError{Op: "write", Path: forwardFile, Err: writable}).Error(),
		Breaks: "containers reach no other host, and no other host reaches them; the container's gateway answers",
		Why:    "a host that is no router drops what is not for itself; /proc/sys is read-only in a container",
		Cure:   []string{"docker run --sysctl net.ipv4.ip_forward=1 …    # when this is the inside of a container", "sudo sysctl -w net.ipv4.ip_forward=1             # on the host"},
	}
}

// bridged judges br_netfilter, which has frames that a bridge passes on go
// through the rules for routed packets.
func bridged(now string, err error, drops []drop) doctor.Result {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return doctor.Fine("not loaded")
	case err != nil:
		return doctor.Result{Status: doctor.Unknown, Found: err.Error()}
	case strings.TrimSpace(now) == "0":
		return doctor.Fine("loaded, and off")
	case len(drops) == 0:
		return doctor.Fine("on, and no firewall drops what it forwards")
	}
	return doctor.Result{
		Status: doctor.Limited, Found: "net.bridge.bridge-nf-call-iptables is 1, and a firewall drops what is forwarded",
		Breaks: "connections between two containers of one network",
		Why:    "frames that stay on a bridge go through the forward chains, as if they were routed, where br_netfilter is loaded",
		Cure:   append([]string{"sudo sysctl -w net.bridge.bridge-nf-call-iptables=0    # unless Kubernetes is on this host, which needs it"}, drops[0].cure()...),
	}
}
