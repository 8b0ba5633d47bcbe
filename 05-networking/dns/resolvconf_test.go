package dns

import (
	"slices"
	"testing"
)

func TestResolvConf(t *testing.T) {
	host := ParseResolvConf([]byte("# by hand\nnameserver 10.0.0.1\nnameserver here\nnameserver fe80::1%eth0\n" +
		"domain example.net\nsearch a.example b.example\n; nameserver 10.0.0.9\noptions edns0\noptions timeout:1\nsortlist 10.0.0.0\nsearch"))
	want := "nameserver 10.0.0.1\nnameserver fe80::1%eth0\nsearch a.example b.example\noptions edns0 timeout:1\n"
	if got := string(host.Bytes()); got != want {
		t.Errorf("read and written:\n%s\nwant\n%s", got, want)
	}

	for name, test := range map[string]struct {
		given     ResolvConf
		file      string
		upstreams []string
		inside    bool
	}{
		"the host's": {
			ResolvConf{},
			"nameserver 127.0.0.11\nsearch a.example b.example\noptions edns0 timeout:1 ndots:0\n",
			[]string{"10.0.0.1:53", "[fe80::1%eth0]:53"}, false,
		},
		"given": {
			ResolvConf{Nameservers: addresses("10.9.9.9"), Search: []string{"c.example"}, Options: []string{"ndots:2"}},
			"nameserver 127.0.0.11\nsearch c.example\noptions ndots:2\n",
			[]string{"10.9.9.9:53"}, true,
		},
		"no search list": {
			ResolvConf{Search: []string{"."}},
			"nameserver 127.0.0.11\noptions edns0 timeout:1 ndots:0\n",
			[]string{"10.0.0.1:53", "[fe80::1%eth0]:53"}, false,
		},
	} {
		conf, upstreams := host.Embedded(test.given)
		if got := string(conf.Bytes()); got != test.file {
			t.Errorf("%s: the file is\n%s\nwant\n%s", name, got, test.file)
		}
		var got []string
		for _, u := range upstreams {
			got = append(got, u.Address.String())
			if u.Inside != test.inside {
				t.Errorf("%s: %s is asked from inside: %v", name, u.Address, u.Inside)
			}
		}
		if !slices.Equal(got, test.upstreams) {
			t.Errorf("%s: asks %v, want %v", name, got, test.upstreams)
		}
	}
	if got := string(host.Bytes()); got != want {
		t.Errorf("the host's has changed:\n%s", got)
	}
	if _, upstreams := (ResolvConf{}).Embedded(ResolvConf{}); len(upstreams) != 1 || upstreams[0].Address.String() != "127.0.0.1:53" {
		t.Errorf("a host without a resolv.conf asks %v", upstreams)
	}
}
