//go:build linux

package hosttest

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
)

// mount is one line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	root, point, source, fstype string
	// flags are those of the mount, propagation the optional fields such as
	// "shared:1", options those of the file system.
	flags, propagation, options string
}

// mounts lists the mounts of this thread's namespace, in mount order.
func mounts() []mount {
	b, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil
	}
	var ms []mount
	for line := range strings.Lines(string(b)) {
		// 36 35 98:0 /root /point flags optional… - fstype source options
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 6 || len(r) < 2 {
			continue
		}
		ms = append(ms, mount{
			root: unescape.Replace(l[3]), point: unescape.Replace(l[4]), flags: l[5],
			propagation: strings.Join(l[6:], ","), fstype: r[0], source: r[1], options: strings.Join(r[2:], ","),
		})
	}
	return ms
}

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// place is where a snapshot is taken.
type place int

const (
	host place = iota
	inside
)

// snapshot is a sorted list of lines, each one thing that the kernel has.
type snapshot []string

// takeSnapshot lists mounts with their propagation, links, addresses, routes,
// nftables objects and, on the host, the settings that have no namespace or
// that the host's own namespace holds.
func takeSnapshot(p place) (snapshot, error) {
	var s snapshot
	for _, m := range mounts() {
		s = append(s, fmt.Sprintf("mount %s %s on %s (%s) %s", m.fstype, m.source, m.point, m.flags, m.propagation))
	}
	network, err := networkLines()
	if err != nil {
		return nil, err
	}
	s = append(s, network...)
	rules, err := nftablesLines()
	if err != nil {
		return nil, err
	}
	s = append(s, rules...)
	if p == host {
		for _, name := range []string{
			"kernel/core_pattern", "kernel/hostname", "kernel/domainname", "kernel/pid_max", "kernel/keys/maxkeys",
			"kernel/msgmax", "kernel/sem", "kernel/shmmax", "kernel/unprivileged_userns_clone",
			"fs/inotify/max_user_instances", "user/max_user_namespaces", "vm/overcommit_memory",
			"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv4/conf/all/route_localnet",
			"net/ipv4/conf/all/rp_filter", "net/ipv4/ip_local_port_range", "net/ipv4/ip_unprivileged_port_start",
			"net/bridge/bridge-nf-call-iptables",
		} {
			if b, err := os.ReadFile("/proc/sys/" + name); err == nil {
				s = append(s, fmt.Sprintf("sysctl %s = %s", strings.ReplaceAll(name, "/", "."), strings.TrimSpace(string(b))))
			}
		}
	}
	slices.Sort(s)
	return s, nil
}

// diff lists what after has and s has not, and the other way round.
func (s snapshot) diff(after snapshot) []string {
	var d []string
	for i, j := 0, 0; i < len(s) || j < len(after); {
		switch {
		case j == len(after) || i < len(s) && s[i] < after[j]:
			d = append(d, "gone:  "+s[i])
			i++
		case i == len(s) || after[j] < s[i]:
			d = append(d, "added: "+after[j])
			j++
		default:
			i, j = i+1, j+1
		}
	}
	return d
}

// networkLines lists links, addresses and routes of the network namespace.
func networkLines() ([]string, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var lines []string
	for _, l := range links {
		up := "down"
		if l.Flags&net.FlagUp != 0 {
			up = "up"
		}
		lines = append(lines, fmt.Sprintf("link %s %s mtu %d %s", l.Name, l.HardwareAddr, l.MTU, up))
		addresses, err := l.Addrs()
		if err != nil {
			continue // the link went while we looked
		}
		for _, a := range addresses {
			lines = append(lines, fmt.Sprintf("address %s on %s", a, l.Name))
		}
	}
	// Destination, gateway and mask in hexadecimal, as the kernel writes them:
	// enough to see that two lists differ, and where.
	v4, err := routeLines("/proc/thread-self/net/route", func(f []string) string {
		return fmt.Sprintf("route %s/%s via %s dev %s metric %s", f[1], f[7], f[2], f[0], f[6])
	})
	if err != nil {
		return nil, err
	}
	v6, err := routeLines("/proc/thread-self/net/ipv6_route", func(f []string) string {
		return fmt.Sprintf("route %s/%s via %s dev %s metric %s", f[0], f[1], f[4], f[9], f[5])
	})
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return append(append(lines, v4...), v6...), nil
}

func routeLines(path string, line func(fields []string) string) ([]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var lines []string
	for scan := bufio.NewScanner(bytes.NewReader(b)); scan.Scan(); {
		if f := strings.Fields(scan.Text()); len(f) >= 10 && f[0] != "Iface" {
			lines = append(lines, line(f))
		}
	}
	return lines, nil
}
