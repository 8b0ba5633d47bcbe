//go:build linux

package images

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestParseReference(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0123456789abcdef", 4)
	tests := []struct{ in, want, familiar string }{
		{"debian", "docker.io/library/debian:latest", "debian:latest"},
		{"debian:12", "docker.io/library/debian:12", "debian:12"},
		{"user/app", "docker.io/user/app:latest", "user/app:latest"},
		{"localhost/app", "localhost/app:latest", "localhost/app:latest"},
		{"127.0.0.1:5000/a/b/c:v1", "127.0.0.1:5000/a/b/c:v1", "127.0.0.1:5000/a/b/c:v1"},
		{"[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"},
		{"debian" + digest, "docker.io/library/debian" + digest, "debian" + digest},
		{"debian:12" + digest, "docker.io/library/debian" + digest, "debian" + digest},
	}
	for _, tt := range tests {
		ref, err := ParseReference(tt.in)
		if err != nil {
			t.Errorf("ParseReference(%q): %v", tt.in, err)
			continue
		}
		if ref.String() != tt.want || Familiar(ref) != tt.familiar {
			t.Errorf("ParseReference(%q) = %q, familiar %q; want %q, %q", tt.in, ref, Familiar(ref), tt.want, tt.familiar)
		}
	}
	for in, want := range map[string]string{
		"":                                   `"": invalid reference format`,
		"Debian":                             "repository name (library/Debian) must be lowercase",
		"a b":                                "invalid reference format",
		"debian:" + strings.Repeat("x", 129): "invalid reference format",
		"debian@sha256:123":                  "invalid reference format",
		"../../etc/passwd":                   "invalid reference format",
	} {
		_, err := ParseReference(in)
		if err == nil || !strings.Contains(err.Error(), want) || !errdefs.IsInvalidArgument(err) {
			t.Errorf("ParseReference(%q) = %v; want an InvalidArgument that says %q", in, err, want)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"debian", "a/b:c", "[::1]:5000/a@sha256:00", "localhost:5000/x:y@sha256:" + strings.Repeat("0", 64)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseReference(s)
		if err != nil {
			return
		}
		// The normal form means itself: the database relies on it.
		again, err := ParseReference(ref.String())
		if err != nil || again.String() != ref.String() {
			t.Errorf("%q became %q, and that became %v, %v", s, ref, again, err)
		}
		if id := identifier(ref); id == "" || strings.ContainsAny(id, "/?#") {
			t.Errorf("%q: identifier %q", s, id)
		}
	})
}
