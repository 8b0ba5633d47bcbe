package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
)

func addresses(s string) []netip.Addr {
	var all []netip.Addr
	for f := range strings.FieldsSeq(s) {
		all = append(all, netip.MustParseAddr(f))
	}
	return all
}

func TestLookup(t *testing.T) {
	reg := new(Registry)
	reg.Add("back", Record{Name: "db", Aliases: []string{"Postgres", "store"}, Addresses: addresses("172.30.0.2 fd00::2")})
	reg.Add("back", Record{Name: "db2", Aliases: []string{"store"}, Addresses: addresses("172.30.0.3")})
	reg.Add("front", Record{Name: "web.1", Aliases: []string{"db"}, Addresses: addresses("172.30.1.2")})
	both := []string{"back", "front"}
	for _, test := range []struct {
		networks []string
		name     string
		want     string // "-": not known
	}{
		{both, "db", "172.30.0.2 fd00::2"},
		{both, "DB.", "172.30.0.2 fd00::2"},
		{both, "postgres", "172.30.0.2 fd00::2"},
		{both, "store", "172.30.0.2 fd00::2 172.30.0.3"},
		{[]string{"front", "back"}, "db", "172.30.1.2"},
		{both, "db.front", "172.30.1.2"},
		{both, "Web.1.FRONT.", "172.30.1.2"},
		{both, "web.1", "172.30.1.2"},
		{[]string{"front"}, "postgres", "-"},
		{[]string{"front"}, "postgres.back", "-"},
		{[]string{"front"}, "db2", "-"},
		{nil, "db", "-"},
		{both, "", "-"},
		{both, ".", "-"},
		{both, "front", "-"},
		{both, ".front", "-"},
	} {
		got, known := reg.Lookup(test.networks, test.name)
		if test.want == "-" {
			if known || len(got) != 0 {
				t.Errorf("%s on %v: %v, %v, want unknown", test.name, test.networks, got, known)
			}
		} else if !known || !slices.Equal(got, addresses(test.want)) {
			t.Errorf("%s on %v: %v, %v, want %s", test.name, test.networks, got, known, test.want)
		}
	}
}

func TestReverse(t *testing.T) {
	reg := new(Registry)
	reg.Add("back", Record{Name: "db", Addresses: addresses("172.30.0.2 fd00::2")})
	for address, want := range map[string]string{"172.30.0.2": "db.back", "fd00::2": "db.back", "172.30.0.3": ""} {
		if got, known := reg.Reverse([]string{"front", "back"}, netip.MustParseAddr(address)); got != want || known != (want != "") {
			t.Errorf("Reverse(%s): %q, %v, want %q", address, got, known, want)
		}
	}
	if name, known := reg.Reverse([]string{"front"}, netip.MustParseAddr("172.30.0.2")); known {
		t.Errorf("another network's address has the name %s", name)
	}
	long := strings.Repeat("x", 64)
	reg.Add("back", Record{Name: long, Addresses: addresses("172.30.0.9")})
	if name, known := reg.Reverse([]string{"back"}, netip.MustParseAddr("172.30.0.9")); known {
		t.Errorf("a name that fits into no message is told: %s", name)
	}
}

func TestRemoveForgetsEverything(t *testing.T) {
	reg := new(Registry)
	for range 3 {
		reg.Add("back", Record{Name: "db", Aliases: []string{"store"}, Addresses: addresses("172.30.0.2")})
		reg.Add("back", Record{Name: "DB", Aliases: []string{"other", "other"}, Addresses: addresses("172.30.0.3")})
	}
	if got, known := reg.Lookup([]string{"back"}, "store"); known {
		t.Errorf("an alias of the record before is known: %v", got)
	}
	if got, _ := reg.Lookup([]string{"back"}, "other"); !slices.Equal(got, addresses("172.30.0.3")) {
		t.Errorf("other: %v", got)
	}
	reg.Remove("back", "nobody")
	reg.Remove("none", "db")
	reg.Remove("Back", "Db")
	if _, known := reg.Lookup([]string{"back"}, "db"); known || len(reg.zones) != 0 {
		t.Errorf("left after Remove: %v", reg.zones)
	}
}

func TestRegistryIsForManyAtOnce(t *testing.T) {
	reg := new(Registry)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			name, network := fmt.Sprint("c", i), fmt.Sprint("net", i%2)
			for range 200 {
				reg.Add(network, Record{Name: name, Aliases: []string{"shared"}, Addresses: addresses("172.30.0.2")})
				reg.Lookup([]string{"net0", "net1"}, "shared")
				reg.Reverse([]string{network}, netip.MustParseAddr("172.30.0.2"))
				reg.Remove(network, name)
			}
		})
	}
	all.Wait()
	if len(reg.zones) != 0 {
		t.Errorf("left: %v", reg.zones)
	}
}
