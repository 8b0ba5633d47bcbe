package networking

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
)

func TestHosts(t *testing.T) {
	web := []string{"web.example.org", "web"}
	addresses := []netip.Addr{netip.MustParseAddr("172.30.0.2"), netip.MustParseAddr("fd00::2"), netip.MustParseAddr("172.30.1.2")}
	added := []Host{{"db", netip.MustParseAddr("10.0.0.9")}}
	localhost := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	want := localhost + "10.0.0.9\tdb\n172.30.0.2\tweb.example.org web\nfd00::2\tweb.example.org web\n172.30.1.2\tweb.example.org web\n"
	if got := string(Hosts(web, addresses, added)); got != want {
		t.Errorf("Hosts:\n%s\nwant\n%s", got, want)
	}
	if got := string(Hosts(web, nil, nil)); got != localhost {
		t.Errorf("Hosts without an address:\n%s", got)
	}
	if got := string(Hosts(nil, addresses, nil)); got != localhost {
		t.Errorf("Hosts without a name:\n%s", got)
	}
}

func TestParseHost(t *testing.T) {
	gateway := netip.MustParseAddr("172.30.0.1")
	for s, want := range map[string]Host{
		"db:10.0.0.9":       {"db", netip.MustParseAddr("10.0.0.9")},
		"db=10.0.0.9":       {"db", netip.MustParseAddr("10.0.0.9")},
		"db:fd00::9":        {"db", netip.MustParseAddr("fd00::9")},
		"db:[fd00::9]":      {"db", netip.MustParseAddr("fd00::9")},
		"host:host-gateway": {"host", gateway},
	} {
		if got, err := ParseHost(s, gateway); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", s, got, err, want)
		}
	}
	for s, want := range map[string]string{
		"db":                   `host "db": want NAME:ADDRESS`,
		":10.0.0.9":            `host ":10.0.0.9": want NAME:ADDRESS`,
		"db:here":              `host "db:here": "here" is not an IP address`,
		"a\n6.6.6.6 b:1.1.1.1": `host "a\n6.6.6.6 b:1.1.1.1": want NAME:ADDRESS`,
		"a#b:1.1.1.1":          `host "a#b:1.1.1.1": want NAME:ADDRESS`,
	} {
		if _, err := ParseHost(s, gateway); err == nil || err.Error() != want || !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v, want %s", s, err, want)
		}
	}
	if _, err := ParseHost("h:host-gateway", netip.Addr{}); err == nil {
		t.Error("a gateway that there is not")
	}
}

func TestResolvConf(t *testing.T) {
	host := "# by hand\nnameserver 127.0.0.53\nnameserver 10.0.0.1\n  nameserver ::1\nsearch example.org\noptions edns0"
	want := "# by hand\nnameserver 10.0.0.1\nsearch example.org\noptions edns0"
	if got := string(ResolvConf([]byte(host))); got != want {
		t.Errorf("ResolvConf:\n%s\nwant\n%s", got, want)
	}
}

func TestHostResolvConf(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	stub := file("stub", "nameserver 127.0.0.53\n")
	behind := file("behind", "nameserver 10.0.0.1\n")
	direct := file("direct", "nameserver 127.0.0.1\nnameserver 10.0.0.9\n")
	for _, test := range []struct{ path, behind, want string }{
		{stub, behind, "nameserver 10.0.0.1\n"},
		{stub, filepath.Join(dir, "none"), "nameserver 127.0.0.53\n"},
		{direct, behind, "nameserver 127.0.0.1\nnameserver 10.0.0.9\n"},
		{filepath.Join(dir, "none"), behind, ""},
	} {
		if got, err := hostResolvConf(test.path, test.behind); err != nil || string(got) != test.want {
			t.Errorf("%s: %q, %v, want %q", filepath.Base(test.path), got, err, test.want)
		}
	}
}
