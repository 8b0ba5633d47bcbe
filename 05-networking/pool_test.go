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
