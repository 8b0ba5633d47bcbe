//go:build linux

package networking

import (
	"errors"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestPictureShowsWhatTheKernelHas(t *testing.T) {
	l := newLab(t)
	n := l.create(dualStack(testNetwork(0)))
	l.container(n, 2, "18080:8080", "127.0.0.1:18053:53/udp")
	l.container(n, 3)
	draw := func() string {
		t.Helper()
		var b strings.Builder
		must(t, n.Picture(background, &b))
		return b.String()
	}
	want := `dd0  172.30.0.1/24  fd00:30::1/64  02:dd:ac:1e:00:01
├─ veth-ac1e0002 ═══ 172.30.0.2/24  fd00:30::2/64  02:dd:ac:1e:00:02
│    0.0.0.0:18080->8080/tcp
│    127.0.0.1:18053->53/udp
│    [::]:18080->8080/tcp
└─ veth-ac1e0003 ═══ 172.30.0.3/24  fd00:30::3/64  02:dd:ac:1e:00:03

prerouting, bridge, priority -200
    no container reaches what listens on the host's localhost
`
	got := draw()
	if !strings.HasPrefix(got, want) {
		t.Errorf("the picture is\n%s\nwant\n%s", got, want)
	}
	for _, r := range n.ruleset().rules {
		if !strings.Contains(got, "    "+r.why+"\n") {
			t.Errorf("the picture lacks the rule %q", r.why)
		}
	}
	emptied(t, n, "guard")
	must(t, netlink.LinkDel(linkByName(t, "veth-ac1e0003")))
	got = draw()
	if strings.Contains(got, "prerouting, bridge") || !strings.Contains(got, "└─ (no cable) 172.30.0.3/24") {
		t.Errorf("the picture shows what has gone:\n%s", got)
	}
	missing := testNetwork(9)
	if err := missing.Picture(background, &strings.Builder{}); !errors.As(err, new(netlink.LinkNotFoundError)) {
		t.Errorf("Picture of a network that is not there: %v", err)
	}
}
