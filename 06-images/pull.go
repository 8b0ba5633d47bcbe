//go:build linux

package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// parallelLayers is how many layers of one pull are fetched at a time, as in
// Docker.
const parallelLayers = 3

// PullOptions say what to pull, and how. The zero value pulls for this machine,
// as nobody, and tells nobody.
type PullOptions struct {
	Platform    *ocispec.Platform // nil: HostPlatform
	Credentials Credentials
	Registries  Registries
	Insecure    bool           // as in ConnectOptions
	Progress    func(Progress) // called from several goroutines
}

// Pull brings an image here from its registry, or from a mirror of it. When it
// returns an error, the store has no other image than before, and no name has
// moved; layers that were complete stay for the next pull. When it returns nil,
// all of the image is on disk.
func (s *Store) Pull(ctx context.Context, name string, opt PullOptions) (Image, error) {
	progress, platform := opt.Progress, HostPlatform()
	if progress == nil {
		progress = func(Progress) {}
	}
	if opt.Platform != nil {
		platform = *opt.Platform
	}

	ref, err := ParseReference(name)
	if err != nil {
		return Image{}, err
	}
	connection := ConnectOptions{Credentials: opt.Credentials, Registries: opt.Registries, Insecure: opt.Insecure}
	var mirrors []string // what they said
	for _, mirror := range opt.Registries.Mirrors[reference.Domain(ref)] {
		repo, err := connectMirror(ctx, ref, mirror, connection)
		if err == nil {
			var img Image
			if img, err = s.pull(ctx, repo, ref, platform, progress); err == nil {
				return img, nil
			}
		}
		if ctx.Err() != nil {
			return Image{}, err
		}
		// A mirror that lacks it, or is broken, is no reason not to have it.
		mirrors = append(mirrors, fmt.Sprintf("mirror %s: %v", mirror, err))
	}
	var img Image
	repo, err := Connect(ctx, ref, connection)
	if err != nil {
		err = pullError(ref, err)
	} else {
		img, err = s.pull(ctx, repo, ref, platform, progress)
	}
	if err != nil && mirrors != nil {
		err = fmt.Errorf("%w; before it, %s", err, strings.Join(mirrors, "; "))
	}
	return img, err
}

// pull brings an image here from a repository, which it closes.
func (s *Store) pull(ctx context.Context, repo *Repository, ref reference.Named, platform ocispec.Platform, progress func(Progress)) (Image, error) {
	defer repo.Close()

	// Resolve: the name says which registry, and the registry says which
	// document the tag means now.
	top, err := repo.document(ctx, identifier(ref))
	if err != nil {
		return Image{}, pullError(ref, err)
	}
	progress(Progress{ID: identifier(ref), Status: "Pulling from " + reference.Path(ref)})

	// Manifest: of an index, the one for the platform.
	doc := top
	if top.isIndex() {
		if doc, err = repo.choose(ctx, top, platform); err != nil {
			return Image{}, pullError(ref, err)
		}
	}
	m, err := doc.manifest()
	if err != nil {
		return Image{}, fmt.Errorf("%s: %w", Familiar(ref), err)
	}

	// Config: its digest is the image's ID, its diff IDs are what the layers
	// must unpack to.
	raw, err := repo.bytes(ctx, m.Config)
	if err != nil {
		return Image{}, blobError(ref, err)
	}
	if err := checkSize(m.Config, raw); err != nil {
		return Image{}, err
	}
	config, err := parseConfig(raw, len(m.Layers))
	if err != nil {
		return Image{}, fmt.Errorf("%s: %w", Familiar(ref), err)
	}
	if err := checkPlatform(Familiar(ref), config, platform); err != nil {
		return Image{}, err
	}

	// Layers: at the same time, since none needs another to be unpacked.
	digests := append([]digest.Digest{doc.digest, m.Config.Digest}, config.RootFS.DiffIDs...)
	for _, l := range m.Layers {
		digests = append(digests, l.Digest)
	}
	defer s.hold(digests...)()
	if err := s.pullLayers(ctx, repo, m.Layers, config.RootFS.DiffIDs, progress); err != nil {
		return Image{}, blobError(ref, err)
	}

	// All is here: now the image gets its names.
	byDigest, err := reference.WithDigest(reference.TrimNamed(ref), top.digest)
	if err != nil {
		return Image{}, err
	}
	before, _ := s.Get(ref.String())
	img, err := s.add(doc, m, raw, config, ref.String(), byDigest.String())
	if err != nil {
		return Image{}, fmt.Errorf("%s: %w", Familiar(ref), err)
	}
	progress(Progress{Status: "Digest: " + top.digest.String()})
	if before.ID == img.ID {
		progress(Progress{Status: "Status: Image is up to date for " + Familiar(ref)})
	} else {
		progress(Progress{Status: "Status: Downloaded newer image for " + Familiar(ref)})
	}
	return img, nil
}

// pullLayers makes all layers be here, and returns when none is worked on any
// more.
func (s *Store) pullLayers(ctx context.Context, repo *Repository, layers []ocispec.Descriptor, diffIDs []digest.Digest, progress func(Progress)) error {
	type layer struct {
		desc   ocispec.Descriptor
		diffID digest.Digest
	}
	var all []layer
	for i, desc := range layers {
		progress(Progress{ID: shortID(desc.Digest.Encoded()), Status: "Pulling fs layer"})
		all = append(all, layer{desc, diffIDs[i]})
	}
	// The largest first: it would otherwise be alone at the end.
	slices.SortStableFunc(all, func(a, b layer) int { return cmp.Compare(b.desc.Size, a.desc.Size) })

	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLayers)
	for _, l := range all {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err // another layer has failed
			}
			return s.layer(ctx, repo, l.desc, l.diffID, progress)
		})
	}
	return group.Wait()
}

// checkSize holds what was fetched against what its descriptor says.
func checkSize(desc ocispec.Descriptor, raw []byte) error {
	if int64(len(raw)) != desc.Size {
		return errorf(errdefs.ErrDataLoss, "%s: its descriptor says %d bytes, it has %d", desc.Digest, desc.Size, len(raw))
	}
	return nil
}

// blobError says what it means that a registry does not give what its own
// manifest names.
func blobError(ref reference.Named, err error) error {
	if status, ok := errors.AsType[*StatusError](err); ok && status.StatusCode == http.StatusNotFound {
		return fmt.Errorf("pull %s: the registry lacks what its manifest names: %w", Familiar(ref), err)
	}
	return pullError(ref, err)
}

// pullError says what a registry's refusal means for the image.
func pullError(ref reference.Named, err error) error {
	var status *StatusError
	if !errors.As(err, &status) {
		return fmt.Errorf("pull %s: %w", Familiar(ref), err)
	}
	switch status.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("manifest for %s not found: %w", Familiar(ref), err)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("pull access denied for %s, repository does not exist or may require 'docker login': %w", reference.FamiliarName(ref), err)
	}
	return fmt.Errorf("pull %s: %w", Familiar(ref), err)
}
