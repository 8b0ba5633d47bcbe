//go:build linux

package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// CopyOptions say what to copy, and how. The zero value copies all platforms,
// as nobody, and tells nobody.
type CopyOptions struct {
	From, To   Credentials
	Registries Registries        // without the mirrors
	Insecure   bool              // as in ConnectOptions
	Platform   *ocispec.Platform // of an index only the manifest for this one; nil: the whole index
	Referrers  bool              // what refers to it, too: signatures and the like
	Progress   func(Progress)    // called from several goroutines
}

// maxDocuments limits how many manifests one copy follows.
const maxDocuments = 1000

// Copy brings an image, an index of images or an artifact from one repository to
// another, and returns its digest, which is that of the original. Nothing is unpacked and nothing is
// written to a disk here: each blob flows from one registry into the other,
// which checks it, and none does where the other one is the same registry or
// has it. Manifests come last, and the name last of all.
func Copy(ctx context.Context, src, dst string, opt CopyOptions) (digest.Digest, error) {
	from, err := ParseReference(src)
	if err != nil {
		return "", err
	}
	to, err := ParseReference(dst)
	if err != nil {
		return "", err
	}
	progress := opt.Progress
	if progress == nil {
		progress = func(Progress) {}
	}
	c := &copier{referrers: opt.Referrers, seen: make(map[digest.Digest]bool)}
	connection := ConnectOptions{Credentials: opt.From, Registries: opt.Registries, Insecure: opt.Insecure}
	if c.from, err = Connect(ctx, from, connection); err != nil {
		return "", pullError(from, err)
	}
	defer c.from.Close()
	connection.Credentials, connection.Push = opt.To, true
	var mountFrom []string
	if reference.Domain(from) == reference.Domain(to) && reference.Path(from) != reference.Path(to) {
		mountFrom = []string{reference.Path(from)}
		connection.MountFrom = mountFrom
	}
	if c.to, err = Connect(ctx, to, connection); err != nil {
		return "", pushError(to, err)
	}
	defer c.to.Close()

	top, err := c.from.document(ctx, identifier(from))
	if err != nil {
		return "", pullError(from, err)
	}
	if opt.Platform != nil && top.isIndex() {
		if top, err = c.from.choose(ctx, top, *opt.Platform); err != nil {
			return "", pullError(from, err)
		}
	}
	if want, ok := to.(reference.Canonical); ok && want.Digest() != top.digest {
		return "", errorf(errdefs.ErrInvalidArgument, "copy %s to %s: its digest is %s", src, dst, top.digest)
	}
	if err := c.collect(ctx, top); err != nil {
		return "", pullError(from, err)
	}
	progress(Progress{Status: fmt.Sprintf("Copying %s to [%s]", Familiar(from), to.Name())})
	if err := c.blobs(ctx, mountFrom, progress); err != nil {
		return "", fmt.Errorf("copy %s to %s: %w", src, dst, err)
	}
	// Each comes after those that it names; the first one, with the name, after all.
	slices.Reverse(c.documents)
	for _, doc := range c.documents {
		id := doc.digest.String()
		if doc.digest == top.digest {
			id = identifier(to)
		}
		if err := c.to.putManifest(ctx, id, doc); err != nil {
			return "", pushError(to, err)
		}
	}
	progress(Progress{Status: fmt.Sprintf("%s: digest: %s size: %d", identifier(to), top.digest, len(top.raw))})
	return top.digest, nil
}

// copier is one copy under way.
type copier struct {
	from, to  *Repository
	referrers bool
	documents []document // each before those that it names, and that refer to it
	seen      map[digest.Digest]bool
}

// collect fetches the documents below doc, and with referrers those about it.
func (c *copier) collect(ctx context.Context, doc document) error {
	if c.seen[doc.digest] {
		return nil
	}
	if len(c.documents) == maxDocuments {
		return errorf(errdefs.ErrInvalidArgument, "more than %d manifests", maxDocuments)
	}
	c.seen[doc.digest] = true
	c.documents = append(c.documents, doc)
	var next []ocispec.Descriptor
	if doc.isIndex() {
		manifests, err := doc.index()
		if err != nil {
			return err
		}
		next = manifests
	}
	if c.referrers {
		referrers, err := c.from.Referrers(ctx, doc.digest, "")
		if err != nil {
			return err
		}
		next = append(next, referrers...)
	}
	for _, desc := range next {
		doc, err := c.from.child(ctx, desc)
		if err != nil {
			return err
		}
		doc.digest = desc.Digest // by the algorithm by which it is named there
		if err := c.collect(ctx, doc); err != nil {
			return err
		}
	}
	return nil
}

// blobs makes the destination have all blobs of the documents.
func (c *copier) blobs(ctx context.Context, mountFrom []string, progress func(Progress)) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLayers)
	begun := make(map[digest.Digest]bool)
	for _, doc := range c.documents {
		if doc.isIndex() {
			continue
		}
		blobs, err := doc.blobs()
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		for _, desc := range blobs {
			if begun[desc.Digest] || isForeign(desc) { // who has the right to give out those is not us
				continue
			}
			begun[desc.Digest] = true
			id := shortID(desc.Digest.String())
			u := &blobUpload{repo: c.to, desc: desc, progress: func(p Progress) {
				p.ID = id
				progress(p)
			}}
			group.Go(func() error {
				return u.run(ctx, mountFrom, func(at int64) (io.ReadCloser, error) { return c.from.blobFrom(ctx, desc, at) })
			})
		}
	}
	return group.Wait()
}

// child fetches a document that another one names.
func (r *Repository) child(ctx context.Context, desc ocispec.Descriptor) (document, error) {
	doc, err := r.document(ctx, desc.Digest.String())
	if err != nil {
		return document{}, err
	}
	return doc, checkSize(desc, doc.raw)
}

// choose fetches the manifest of an index that fits a platform.
func (r *Repository) choose(ctx context.Context, index document, want ocispec.Platform) (document, error) {
	manifests, err := index.index()
	if err != nil {
		return document{}, err
	}
	desc, err := choosePlatform(manifests, want)
	if err != nil {
		return document{}, err
	}
	return r.child(ctx, desc)
}
