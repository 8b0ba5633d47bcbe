package networking

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"unicode"
)

// Host is a line of hosts(5): what `docker run --add-host` adds.
type Host struct {
	Name    string
	Address netip.Addr
}

// ParseHost reads NAME:ADDRESS or NAME=ADDRESS. In the place of an address may
// stand host-gateway, which is gateway: where the container reaches its host. A
// mistake is an errdefs.ErrInvalidArgument.
func ParseHost(s string, gateway netip.Addr) (Host, error) {
	at := strings.IndexAny(s, ":=") // the first: an IPv6 address has colons too
	if at < 1 || strings.ContainsFunc(s, unicode.IsSpace) || strings.ContainsRune(s[:at], '#') {
		return Host{}, invalid("host %q: want NAME:ADDRESS", s)
	}
	name, address := s[:at], s[at+1:]
	if address == "host-gateway" {
		if !gateway.IsValid() {
			return Host{}, invalid("host %q: this container has no gateway", s)
		}
		return Host{name, gateway}, nil
	}
	a, err := netip.ParseAddr(strings.Trim(address, "[]"))
	if err != nil {
		return Host{}, invalid("host %q: %q is not an IP address", s, address)
	}
	return Host{name, a}, nil
}

// Hosts returns what a container's /etc/hosts says (hosts(5)): localhost, its
// own names at each of its addresses, of all its networks, and what was added.
// The first of the names is what its address is called.
func Hosts(names []string, addresses []netip.Addr, added []Host) []byte {
	var b bytes.Buffer
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	for _, h := range added {
		fmt.Fprintf(&b, "%s\t%s\n", h.Address, h.Name)
	}
	for _, a := range addresses {
		if len(names) > 0 {
			fmt.Fprintf(&b, "%s\t%s\n", a, strings.Join(names, " "))
		}
	}
	return b.Bytes()
}

// ResolvConf returns a container's resolv.conf(5): the host's, without the
// nameservers on a loopback address, because in there that is the container
// itself. All else stays as it is.
func ResolvConf(hostResolv []byte) []byte {
	var b bytes.Buffer
	for line := range strings.Lines(string(hostResolv)) {
		if server, ok := nameserver(line); ok && server.IsLoopback() {
			continue
		}
		b.WriteString(line)
	}
	return b.Bytes()
}

// HostResolvConf reads the host's resolv.conf. Where that names nobody but a
// resolver on the host's loopback, as with systemd-resolved, it reads the file
// in which systemd-resolved writes the servers that it asks itself, if there is
// one.
func HostResolvConf() ([]byte, error) {
	return hostResolvConf("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
}

func hostResolvConf(path, behind string) ([]byte, error) {
	conf, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // resolv.conf(5): the same as an empty one
	}
	if err != nil {
		return nil, err
	}
	loopback := false
	for line := range strings.Lines(string(conf)) {
		server, ok := nameserver(line)
		if ok && !server.IsLoopback() {
			return conf, nil
		}
		loopback = loopback || ok
	}
	if loopback {
		if servers, err := os.ReadFile(behind); err == nil {
			return servers, nil
		}
	}
	return conf, nil
}

// nameserver reads a line "nameserver ADDRESS".
func nameserver(line string) (netip.Addr, bool) {
	fields := strings.Fields(line)
	if len(fields) < 2 || fields[0] != "nameserver" {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(fields[1])
	return a, err == nil
}
