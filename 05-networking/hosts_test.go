package networking

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func TestHosts(t *testing.T) {
	got := string(Hosts("web", netip.MustParseAddr("172.30.0.2")))
	want := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n172.30.0.2\tweb\n"
	if got != want {
		t.Errorf("Hosts:\n%s\nwant\n%s", got, want)
	}
	if got := string(Hosts("web", netip.Addr{})); got != want[:len(want)-len("172.30.0.2\tweb\n")] {
		t.Errorf("Hosts without an address:\n%s", got)
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
