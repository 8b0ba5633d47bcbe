package networking

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
)

func TestPoolHandsOutEachAddressOnce(t *testing.T) {
	p := NewPool(netip.MustParsePrefix("10.0.0.0/29"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.4"))
	for _, want := range []string{"10.0.0.2", "10.0.0.3", "10.0.0.5", "10.0.0.6"} {
		if a, err := p.Allocate(); err != nil || a.String() != want {
			t.Errorf("Allocate: %v, %v, want %s", a, err, want)
		}
	}
	_, err := p.Allocate()
	if want := "no free address in 10.0.0.0/29"; err == nil || err.Error() != want || !errdefs.IsResourceExhausted(err) {
		t.Errorf("Allocate: %v, want %s", err, want)
	}
}

func TestPoolGoesRound(t *testing.T) {
	p := NewPool(netip.MustParsePrefix("10.0.0.0/29"), netip.MustParseAddr("10.0.0.1"))
	first, _ := p.Allocate()
	p.Release(first)
	if second, err := p.Allocate(); err != nil || second == first {
		t.Errorf("Allocate: %v, %v right after its release", second, err)
	}
	for range 3 {
		p.Allocate()
	}
	if again, err := p.Allocate(); err != nil || again != first {
		t.Errorf("Allocate: %v, %v, want %s after all others", again, err, first)
	}
}

func TestPoolOfAnySize(t *testing.T) {
	for prefix, want := range map[string]int{"10.0.0.0/30": 2, "10.0.0.0/31": 2, "10.0.0.7/32": 1, "255.255.255.0/24": 254, "fd00::/126": 3} {
		p := NewPool(netip.MustParsePrefix(prefix))
		n := 0
		for ; n < 1000; n++ {
			if _, err := p.Allocate(); err != nil {
				break
			}
		}
		if n != want {
			t.Errorf("%s has %d addresses, want %d", prefix, n, want)
		}
	}
}

func TestPoolIsSharedSafely(t *testing.T) {
	p := NewPool(netip.MustParsePrefix("10.0.0.0/24"))
	var mu sync.Mutex
	seen := make(map[netip.Addr]int)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 30 {
				a, err := p.Allocate()
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				seen[a]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 240 {
		t.Errorf("240 allocations gave %d addresses", len(seen))
	}
}

func TestPoolTakesAChosenAddress(t *testing.T) {
	for _, test := range []struct{ subnet, gateway, chosen, outside string }{
		{"172.30.0.0/29", "172.30.0.1", "172.30.0.3", "172.30.0.7"},
		{"fd00::/125", "fd00::1", "fd00::3", "fd00::"},
	} {
		gateway, chosen := netip.MustParseAddr(test.gateway), netip.MustParseAddr(test.chosen)
		p := NewPool(netip.MustParsePrefix(test.subnet), gateway)
		if err := p.Take(chosen); err != nil {
			t.Fatal(err)
		}
		for _, taken := range []netip.Addr{gateway, chosen} {
			if err := p.Take(taken); !errdefs.IsAlreadyExists(err) || err.Error() != "the address "+taken.String()+" is in use" {
				t.Errorf("Take(%s): %v", taken, err)
			}
		}
		for {
			a, err := p.Allocate()
			if errdefs.IsResourceExhausted(err) {
				break
			}
			if err != nil || a == chosen {
				t.Fatalf("Allocate gives %s, %v: it was taken", a, err)
			}
		}
		if err := p.Take(netip.MustParseAddr(test.outside)); !errdefs.IsInvalidArgument(err) {
			t.Errorf("Take(%s): %v", test.outside, err)
		}
		p.Release(chosen)
		if err := p.Take(chosen); err != nil {
			t.Errorf("after Release: %v", err)
		}
	}
}
