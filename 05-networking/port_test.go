package networking

import (
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestParsePort(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"80", "[*:0->80/tcp]"},
		{"53/udp", "[*:0->53/udp]"},
		{"8080:80", "[*:8080->80/tcp]"},
		{"8080:80/TCP", "[*:8080->80/tcp]"},
		{"127.0.0.1:8080:80/udp", "[127.0.0.1:8080->80/udp]"},
		{"127.0.0.1::80", "[127.0.0.1:0->80/tcp]"},
		{":8080:80", "[*:8080->80/tcp]"},
		{"[::ffff:10.0.0.1]:8080:80", "[10.0.0.1:8080->80/tcp]"},
		{"8000-8002:80-82", "[*:8000->80/tcp *:8001->81/tcp *:8002->82/tcp]"},
		{"80-81", "[*:0->80/tcp *:0->81/tcp]"},
		{"[::1]:8080:80", "[[::1]:8080->80/tcp]"},
		{"[::]:8080:80/sctp", "[[::]:8080->80/sctp]"},
		{"0.0.0.0:8080:80", "[0.0.0.0:8080->80/tcp]"},
		{"65535:65535", "[*:65535->65535/tcp]"},
	} {
		if got, err := ParsePort(test.in); err != nil || fmt.Sprint(got) != test.want {
			t.Errorf("ParsePort(%q) = %v, %v, want %s", test.in, got, err, test.want)
		}
	}
}

func TestParsePortRefuses(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", `port "": container port: "" is not a number from 1 to 65535`},
		{"0", `port "0": container port: "0" is not a number from 1 to 65535`},
		{"8080:", `port "8080:": container port: "" is not a number from 1 to 65535`},
		{"65536:80", `port "65536:80": host port: "65536" is not a number from 1 to 65535`},
		{"+80", `port "+80": container port: "+80" is not a number from 1 to 65535`},
		{"82-80", `port "82-80": container port: the range 82-80 ends before it begins`},
		{"8000-8001:80", `port "8000-8001:80": 2 host ports for 1 container ports`},
		{"80/icmp", `port "80/icmp": protocol "icmp" is neither tcp nor udp nor sctp`},
		{"here:8080:80", `port "here:8080:80": "here" is not an IP address`},
		{"[::g]:8080:80", `port "[::g]:8080:80": "[::g]" is not an IP address`},
	} {
		_, err := ParsePort(test.in)
		if err == nil || err.Error() != test.want || !errdefs.IsInvalidArgument(err) {
			t.Errorf("ParsePort(%q): %v, want %s", test.in, err, test.want)
		}
	}
}

func FuzzParsePort(f *testing.F) {
	for _, s := range []string{"80", "8080:80", "127.0.0.1:8080:80/udp", "[::1]:1-65535:1-65535/tcp", "::::", "1-:-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ports, err := ParsePort(s)
		if err != nil {
			if !errdefs.IsInvalidArgument(err) || len(ports) != 0 {
				t.Fatalf("ParsePort(%q) = %v, %v", s, ports, err)
			}
			return
		}
		if len(ports) == 0 {
			t.Fatalf("ParsePort(%q) is neither a port nor an error", s)
		}
		for _, p := range ports {
			if err := p.check(); err != nil {
				t.Fatalf("ParsePort(%q) gives %v", s, err)
			}
		}
		// One that is written out reads back as itself.
		p := ports[0]
		if p.HostPort == 0 {
			return
		}
		host, container, _ := strings.Cut(strings.TrimPrefix(p.String(), "*:"), "->")
		again, err := ParsePort(host + ":" + container)
		if err != nil || len(again) != 1 || again[0].String() != p.String() {
			t.Fatalf("%v reads back as %v, %v", p, again, err)
		}
	})
}
