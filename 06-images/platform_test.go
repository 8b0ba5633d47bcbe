package images

import (
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestChoosePlatform(t *testing.T) {
	tests := []struct{ offered, want, chosen string }{
		{"linux/amd64 linux/arm64", "linux/arm64", "linux/arm64"},
		{"linux/arm/v5 linux/arm/v7 linux/arm/v6", "linux/arm/v7", "linux/arm/v7"},
		{"linux/arm/v5 linux/arm/v7 linux/arm/v6", "linux/arm/v6", "linux/arm/v6"},
		{"linux/arm/v7", "linux/arm/v6", ""},
		{"linux/arm64/v8", "linux/arm64", "linux/arm64/v8"},
		{"linux/amd64/v3 linux/amd64", "linux/amd64", "linux/amd64"},
		{"linux/amd64 linux/amd64/v3", "linux/amd64/v3", "linux/amd64/v3"},
		{"unknown/unknown linux/aarch64", "linux/arm64", "linux/aarch64"},
		{"linux/386", "linux/amd64", ""},
		{"windows/amd64", "linux/amd64", ""},
	}
	for _, tt := range tests {
		var manifests []ocispec.Descriptor
		for _, p := range strings.Fields(tt.offered) {
			parts := strings.Split(p+"/", "/")
			manifests = append(manifests, ocispec.Descriptor{Platform: &ocispec.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}})
		}
		want, err := ParsePlatform(tt.want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := choosePlatform(manifests, want)
		if tt.chosen == "" {
			if err == nil {
				t.Errorf("%s of %s: chose %s", tt.want, tt.offered, FormatPlatform(*got.Platform))
			}
			continue
		}
		if err != nil || FormatPlatform(*got.Platform) != tt.chosen {
			t.Errorf("%s of %s: %v, %v; want %s", tt.want, tt.offered, got.Platform, err, tt.chosen)
		}
	}
}

func TestParsePlatform(t *testing.T) {
	for in, want := range map[string]string{
		"linux/x86_64": "linux/amd64", "LINUX/ARM": "linux/arm/v7", "arm64": "linux/arm64",
		"windows/amd64": "windows/amd64", "linux/arm64/v8": "linux/arm64", "linux": FormatPlatform(HostPlatform()),
	} {
		if got, err := ParsePlatform(in); err != nil || FormatPlatform(got) != want {
			t.Errorf("ParsePlatform(%q) = %s, %v; want %s", in, FormatPlatform(got), err, want)
		}
	}
	for _, in := range []string{"", "linux/", "/amd64", "a/b/c/d"} {
		if p, err := ParsePlatform(in); err == nil {
			t.Errorf("ParsePlatform(%q) = %v, want an error", in, p)
		}
	}
}
