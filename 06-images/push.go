//go:build linux

package images

import (
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
	"go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"
)

// PushOptions say how to push. The zero value pushes as nobody, each blob in
// one piece, and tells nobody.
type PushOptions struct {
	Credentials Credentials
	Registries  Registries     // without the mirrors
	Insecure    bool           // as in ConnectOptions
	Chunk       int64          // bytes of the pieces that blobs are sent in; 0: in one
	Progress    func(Progress) // called from several goroutines
}

// Push sends the image that has a name to the registry in that name, and
// returns the digest that its manifest has there. Only what the registry lacks
// travels; the manifest comes last, so that nobody finds half an image. What
// was sent before an error is there for the next push.
func (s *Store) Push(ctx context.Context, name string, opt PushOptions) (digest.Digest, error) {
	progress := opt.Progress
	if progress == nil {
		progress = func(Progress) {}
	}
	ref, err := ParseReference(name)
	if err != nil {
		return "", err
	}
	if _, ok := ref.(reference.NamedTagged); !ok {
		return "", errorf(errdefs.ErrInvalidArgument, "push %s: an image is pushed by a tag", name)
	}
	img, err := s.Get(ref.String())
	if errdefs.IsNotFound(err) {
		return "", errorf(errdefs.ErrNotFound, "An image does not exist locally with the tag: %s", reference.FamiliarName(ref))
	} else if err != nil {
		return "", err
	}
	defer s.Hold(img)()
	raw, err := s.content.Bytes(img.Manifest)
	if err != nil {
		return "", err
	}
	doc, err := newDocument(raw, "")
	if err != nil {
		return "", err
	}
	m, err := doc.manifest()
	if err != nil {
		return "", err
	}

	blobs := append(slices.Clone(m.Layers), m.Config)
	sources, err := s.mountSources(ref, blobs)
	if err != nil {
		return "", err
	}
	repo, err := Connect(ctx, ref, ConnectOptions{Credentials: opt.Credentials, Registries: opt.Registries, Insecure: opt.Insecure, Push: true, MountFrom: sources.repositories()})
	if err != nil {
		return "", pushError(ref, err)
	}
	defer repo.Close()
	progress(Progress{Status: fmt.Sprintf("The push refers to repository [%s]", ref.Name())})
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLayers)
	for i, desc := range blobs {
		id := ""
		if i < len(img.DiffIDs) { // Docker shows layers by what they unpack to, and no config
			id = shortID(img.DiffIDs[i].Encoded())
			progress(Progress{ID: id, Status: "Preparing"})
		}
		group.Go(func() error {
			f, err := s.content.Open(desc.Digest)
			if err != nil {
				return err
			}
			defer f.Close()
			u := &blobUpload{repo: repo, desc: desc, chunk: opt.Chunk, progress: func(p Progress) {
				if p.ID = id; id != "" {
					progress(p)
				}
			}}
			return u.run(groupCtx, sources[desc.Digest], fileSource(f, desc.Size))
		})
	}
	if err := group.Wait(); err != nil {
		return "", pushError(ref, err)
	}
	if err := repo.putManifest(ctx, identifier(ref), doc); err != nil {
		return "", pushError(ref, err)
	}
	progress(Progress{Status: fmt.Sprintf("%s: digest: %s size: %d", identifier(ref), doc.digest, len(doc.raw))})

	// From now on the image has a name by digest, as if it had been pulled.
	byDigest, err := reference.WithDigest(reference.TrimNamed(ref), doc.digest)
	if err != nil {
		return "", err
	}
	return doc.digest, s.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketNames).Put([]byte(byDigest.String()), []byte(img.ID))
	})
}

// mountSources says, for each blob, in which other repositories of the same
// registry it has been seen.
type mountSources map[digest.Digest][]string

func (m mountSources) repositories() []string {
	var all []string
	for _, repositories := range m {
		all = append(all, repositories...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// mountSources looks for blobs in the images that are here: one that has a name
// by digest in a repository has been there.
func (s *Store) mountSources(to reference.Named, blobs []ocispec.Descriptor) (mountSources, error) {
	sources := make(mountSources)
	err := s.db.View(func(tx *bbolt.Tx) error {
		for id, names := range namesByImage(tx) {
			record, err := loadRecord(tx, digest.Digest(id))
			if err != nil {
				return err
			}
			for _, name := range names {
				ref, err := ParseReference(name)
				if err != nil || isTag(name) || reference.Domain(ref) != reference.Domain(to) || reference.Path(ref) == reference.Path(to) {
					continue
				}
				for _, desc := range blobs {
					if slices.Contains(record.Layers, desc.Digest) || desc.Digest.String() == id {
						sources[desc.Digest] = append(sources[desc.Digest], reference.Path(ref))
					}
				}
			}
		}
		return nil
	})
	return sources, err
}

// has asks whether the repository has a blob.
func (r *Repository) has(ctx context.Context, d digest.Digest) (bool, error) {
	_, err := r.BlobSize(ctx, d)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// putManifest gives the registry a manifest, under a tag or its digest (end-7).
// A registry that does not know of subjects is given the list of those that
// refer to one as well.
func (r *Repository) putManifest(ctx context.Context, id string, doc document) error {
	resp, err := r.do(ctx, call{
		method: http.MethodPut,
		url:    r.path("manifests", id),
		header: http.Header{"Content-Type": {doc.mediaType}},
		body:   bytesBody(doc.raw),
		size:   int64(len(doc.raw)),
		accept: []int{http.StatusCreated},
	})
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Docker-Content-Digest"); got != "" && strings.HasPrefix(got, doc.digest.Algorithm().String()+":") && got != doc.digest.String() {
		return errorf(errdefs.ErrDataLoss, "the registry has stored the manifest %s as %s", doc.digest, got)
	}
	if resp.Header.Get("OCI-Subject") == "" {
		return r.addReferrer(ctx, doc)
	}
	return nil
}

// pushError says what a registry's refusal means for the image.
func pushError(ref reference.Named, err error) error {
	if status, ok := errors.AsType[*StatusError](err); ok && (status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden) {
		return fmt.Errorf("push access denied for %s, which may require 'docker login': %w", reference.FamiliarName(ref), err)
	}
	return fmt.Errorf("push %s: %w", Familiar(ref), err)
}
