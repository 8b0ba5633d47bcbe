package images

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// HostPlatform returns the platform whose programs this machine runs.
func HostPlatform() ocispec.Platform {
	return normalize(ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH})
}

// ParsePlatform reads os/architecture[/variant], as `--platform` has it; an
// operating system alone or an architecture alone is completed from the host.
func ParsePlatform(s string) (ocispec.Platform, error) {
	host := HostPlatform()
	parts := strings.Split(s, "/")
	if slices.Contains(parts, "") || len(parts) > 3 {
		return host, errorf(errdefs.ErrInvalidArgument, "platform %q: want os/architecture or os/architecture/variant", s)
	}
	switch {
	case len(parts) > 1:
		p := ocispec.Platform{OS: parts[0], Architecture: parts[1]}
		if len(parts) == 3 {
			p.Variant = parts[2]
		}
		return normalize(p), nil
	case parts[0] == "linux" || parts[0] == "windows" || parts[0] == "darwin" || parts[0] == "freebsd":
		host.OS = parts[0]
		return host, nil
	default:
		return normalize(ocispec.Platform{OS: host.OS, Architecture: parts[0]}), nil
	}
}

// FormatPlatform is the reverse of ParsePlatform.
func FormatPlatform(p ocispec.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// normalize gives a platform the one spelling that we compare: the names of Go
// (amd64, not x86_64), and no variant where it is the ordinary one.
func normalize(p ocispec.Platform) ocispec.Platform {
	p.OS = strings.ToLower(p.OS)
	p.Architecture = strings.ToLower(p.Architecture)
	p.Variant = strings.ToLower(p.Variant)
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	}
	switch {
	case p.Architecture == "arm64" && (p.Variant == "v8" || p.Variant == "8"),
		p.Architecture == "amd64" && p.Variant == "v1":
		p.Variant = ""
	case p.Architecture == "arm" && p.Variant == "":
		p.Variant = "v7"
	}
	return p
}

// level returns the number of a variant: 7 for v7, 0 for none.
func level(variant string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(variant, "v"))
	return n
}

// runs says whether programs for p run on a machine that is want: the same
// operating system and architecture, and a variant that is not newer. An
// arm/v7 machine runs arm/v6, not the reverse.
func runs(p, want ocispec.Platform) bool {
	p, want = normalize(p), normalize(want)
	return p.OS == want.OS && p.Architecture == want.Architecture && level(p.Variant) <= level(want.Variant)
}

// choosePlatform returns the manifest of an index that fits want best: of those
// that run, the newest variant, and of those the first.
func choosePlatform(manifests []ocispec.Descriptor, want ocispec.Platform) (ocispec.Descriptor, error) {
	var best *ocispec.Descriptor
	var offered []string
	for i, m := range manifests {
		if m.Platform == nil || m.Platform.OS == "unknown" {
			continue // an attestation, or another thing that does not run
		}
		offered = append(offered, FormatPlatform(*m.Platform))
		if runs(*m.Platform, want) &&
			(best == nil || level(normalize(*m.Platform).Variant) > level(normalize(*best.Platform).Variant)) {
			best = &manifests[i]
		}
	}
	if best != nil {
		return *best, nil
	}
	slices.Sort(offered)
	offered = slices.Compact(offered)
	what := fmt.Sprintf("the image is for %s", strings.Join(offered, ", "))
	if len(offered) == 0 {
		what = "it names no platform"
	} else if onlyWindows(offered) {
		what = fmt.Sprintf("the image is for Windows only (%s) and needs a Windows kernel", strings.Join(offered, ", "))
	}
	return ocispec.Descriptor{}, errorf(errdefs.ErrNotFound, "no matching manifest for %s in the manifest list entries: %s", FormatPlatform(want), what)
}

func onlyWindows(platforms []string) bool {
	return !slices.ContainsFunc(platforms, func(p string) bool { return !strings.HasPrefix(p, "windows/") })
}

// checkPlatform refuses an image that is for another platform than want: what
// an image without an index says in its config.
func checkPlatform(name string, config ocispec.Image, want ocispec.Platform) error {
	got := config.Platform
	switch {
	case got.OS == "windows":
		return errorf(errdefs.ErrInvalidArgument, "image operating system \"windows\" cannot be used on this platform: %s needs a Windows kernel", name)
	case got.OS == "" && got.Architecture == "":
		return nil // images that say nothing are older than the question
	case !runs(got, want):
		return errorf(errdefs.ErrNotFound, "image with reference %s was found but does not match the specified platform: wanted %s, actual: %s",
			name, FormatPlatform(want), FormatPlatform(got))
	}
	return nil
}
