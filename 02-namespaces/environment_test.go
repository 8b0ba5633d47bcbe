//go:build linux

package namespaces

import (
	"slices"
	"strings"
	"testing"
)

func TestOfEachVariableTheLastCounts(t *testing.T) {
	got := lastOfEach([]string{"A=1", "B=x", "A=", "C=\n", "B=y=z"})
	if want := []string{"A=", "C=\n", "B=y=z"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestHomeInPasswd(t *testing.T) {
	passwd := "root:x:0:0:root:/root:/bin/sh\n# 7\nbad\nsailor:x:1000:1000::/home/sailor:/bin/sh\nagain:x:1000:1000::/elsewhere:\nnone:x:5:5:::\nrelative:x:6:6::home:\n"
	for uid, want := range map[uint32]string{0: "/root", 1000: "/home/sailor", 5: "/", 6: "/", 7: "/", 4294967295: "/"} {
		if got := homeIn(strings.NewReader(passwd), uid); got != want {
			t.Errorf("%d: %s, want %s", uid, got, want)
		}
	}
}
