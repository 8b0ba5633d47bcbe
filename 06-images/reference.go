package images

import (
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
)

// ParseReference reads [registry/]repository[:tag][@digest]. Where the registry
// is silent it is Docker Hub, where tag and digest are silent the tag is
// "latest", and where both stand the digest decides and the tag is dropped.
// The result is a reference.NamedTagged or a reference.Canonical. Errors are
// InvalidArgument. The grammar is that of github.com/distribution/reference.
func ParseReference(s string) (reference.Named, error) {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return nil, errorf(errdefs.ErrInvalidArgument, "%q: %w", s, err)
	}
	if canonical, ok := named.(reference.Canonical); ok {
		return reference.WithDigest(reference.TrimNamed(named), canonical.Digest())
	}
	return reference.TagNameOnly(named), nil
}

// Familiar returns the short form that people use: debian:12 for
// docker.io/library/debian:12.
func Familiar(ref reference.Named) string { return reference.FamiliarString(ref) }

// identifier returns what a registry calls ref within its repository: the
// digest, else the tag.
func identifier(ref reference.Named) string {
	switch r := ref.(type) {
	case reference.Canonical:
		return r.Digest().String()
	case reference.NamedTagged:
		return r.Tag()
	}
	return "latest"
}

// shortID returns the first 12 hexadecimal digits of a digest, which Docker
// shows for layers and images.
func shortID(d string) string {
	_, hex, ok := strings.Cut(d, ":")
	if !ok {
		hex = d
	}
	return hex[:min(12, len(hex))]
}
