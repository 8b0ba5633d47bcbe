//go:build linux

package oci_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/vishvananda/netlink"

	"drydock.example/01-chroot/hosttest"
)

// newLink makes a link of this namespace with an address of each scope and
// family, and its other end.
func newLink(t *testing.T, name string) {
	t.Helper()
	hosttest.Require(t, hosttest.Root)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, 1400
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: name + "-o"}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Skip("no veth on this kernel: ", err)
	}
	t.Cleanup(func() {
		if l, err := netlink.LinkByName(name + "-o"); err == nil {
			netlink.LinkDel(l)
		}
	})
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"10.91.7.1/24", "fd91:7::1/64"} {
		a, err := netlink.ParseAddr(text)
		if err == nil {
			err = netlink.AddrAdd(link, a)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	local, _ := netlink.ParseAddr("169.254.7.7/16")
	local.Scope = int(netlink.SCOPE_LINK)
	if err := netlink.AddrAdd(link, local); err != nil {
		t.Fatal(err)
	}
}

// links is what the container prints of its links: name → addresses, and whether it is up.
func (b *bundle) links() map[string][]string {
	b.t.Helper()
	var links map[string][]string
	if err := json.Unmarshal([]byte(b.must("run", b.id)), &links); err != nil {
		b.t.Fatal(err)
	}
	return links
}

func TestNetDevices(t *testing.T) {
	for name, c := range map[string]struct{ inside, want string }{
		"as it is called":    {"", "dd-link"},
		"by another name":    {"uplink", "uplink"},
		"by a free name":     {"eth%d", "eth0"},
		"by a taken name":    {"lo", ""},
		"by no possible one": {"a/b", ""},
	} {
		t.Run(name, func(t *testing.T) {
			newLink(t, "dd-link")
			b := newBundle(t, "links")
			b.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"dd-link": {Name: c.inside}}
			if c.want == "" {
				words := map[string]string{"lo": "the container has a link lo already", "a/b": `linux.netDevices.dd-link.name: "a/b": want the name of a link`}[c.inside]
				b.refuses(words, "run", b.id)
				return
			}
			got := strings.Join(b.links()[c.want], " ")
			for _, want := range []string{"up", "1400", "10.91.7.1/24", "fd91:7::1/64"} {
				if !strings.Contains(" "+got+" ", " "+want+" ") {
					t.Errorf("%s is %q, want %s", c.want, got, want)
				}
			}
			if strings.Contains(got, "169.254") {
				t.Errorf("%s has %q: an address of the link's own scope is not the container's", c.want, got)
			}
		})
	}
}

func TestNetDevicesThatCannotBe(t *testing.T) {
	b := newBundle(t, "links")
	b.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"dd-nosuch": {}}
	b.refuses("linux.netDevices: dd-nosuch: Link not found", "run", b.id)
	b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces[:1], b.spec.Linux.Namespaces[2:]...)
	b.refuses("linux.netDevices: unable to move network devices without a NET namespace", "run", b.id)
}
