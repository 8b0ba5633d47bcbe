package overlayfs

import (
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestChainID(t *testing.T) {
	a, b, c := digest.FromString("a"), digest.FromString("b"), digest.FromString("c")
	for _, x := range []struct {
		layers []digest.Digest
		want   digest.Digest
	}{
		{nil, ""},
		{[]digest.Digest{a}, a},
		// printf 'sha256:ca97… sha256:3e23…' | sha256sum
		{[]digest.Digest{a, b}, "sha256:51c0c8ace48498d6f5fee6b0592cc06f2da0f3cbe09c5a34a97dce85c3889676"},
		{[]digest.Digest{b, a}, "sha256:67912b19465da2dd61635ba35b1f2a3eaf11d709b99b6789cffcc1de4616a4e3"},
		{[]digest.Digest{a, b, c}, "sha256:2fce7f8ce91bcf0a1428b36e1024639fdbd9469eea762dba98aa749631885106"},
	} {
		if got := ChainID(x.layers); got != x.want {
			t.Errorf("chain ID of %v: %s, want %s", x.layers, got, x.want)
		}
	}
}
