//go:build linux

package dns

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A program of the container, with the C library's own resolver: by short name
// and full, by alias and in capitals, of both families, back from the address,
// and out into the world. The search list leads somewhere else for each name.
func TestCLibraryResolves(t *testing.T) {
	getent, err := exec.LookPath("getent")
	if err != nil {
		t.Skip("requires the program getent")
	}
	ns := newNamespace(t)
	// The C library asks only for addresses of a family that it has one of.
	inside, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
	must(t, err)
	defer inside.Close()
	for _, a := range []string{"172.30.0.9/32", "fd00::9/128"} {
		address, err := netlink.ParseAddr(a)
		must(t, err)
		must(t, inside.AddrAdd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "lo", Index: 1}}, address))
	}
	o := newOutside(t, nil, "127.0.0.1", world)
	names := new(Registry)
	names.Add("back", Record{Name: "db", Aliases: []string{"store"}, Addresses: addresses("172.30.0.2 fd00::2")})
	listen(t, ns, names, View{Networks: []string{"back"}, Upstreams: there(o)})
	host := ParseResolvConf([]byte("nameserver 10.0.0.1\nsearch elsewhere.example\noptions timeout:5 attempts:1\n"))
	conf, _ := host.Embedded(ResolvConf{})
	file := filepath.Join(t.TempDir(), "resolv.conf")
	must(t, os.WriteFile(file, conf.Bytes(), 0o644))

	for _, test := range []struct {
		database, name string
		want           []string
	}{
		{"ahostsv4", "db", []string{"172.30.0.2"}},
		{"ahostsv6", "DB", []string{"fd00::2"}},
		{"ahostsv4", "store.back", []string{"172.30.0.2"}},
		{"hosts", "172.30.0.2", []string{"172.30.0.2", "db.back"}},
		{"hosts", "fd00::2", []string{"fd00::2", "db.back"}},
		{"ahostsv4", "example.org", []string{"198.51.100.7"}},
		{"ahostsv4", "nobody", nil},
	} {
		var out []byte
		// The child is born in the namespace of the thread that makes it, and has
		// a mount namespace of its own for its resolv.conf.
		must(t, within(ns, func() error {
			cmd := exec.Command("sh", "-c", `mount --bind "$1" /etc/resolv.conf && exec "$2" "$3" "$4"`, "sh", file, getent, test.database, test.name)
			cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
			out, _ = cmd.Output()
			return nil
		}))
		got := strings.Fields(string(out))
		if test.database != "hosts" { // lines of ADDRESS KIND [NAME]
			got = slices.DeleteFunc(got, func(f string) bool { _, err := netip.ParseAddr(f); return err != nil })
		}
		if got = slices.Compact(got); len(got) == 0 {
			got = nil
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("getent %s %s: %q, want %q", test.database, test.name, got, test.want)
		}
	}
	for _, q := range o.questions() {
		if strings.Contains(q, "db") || strings.Contains(q, "store") {
			t.Errorf("the world was asked %q: a container's name gets out", q)
		}
	}
}
