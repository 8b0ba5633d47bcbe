//go:build linux

package images

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Load brings the images of an archive here: what `docker save` writes, old or
// new, or an OCI image layout in a tar. No file of it gets the name that it has
// there: each becomes a blob, by its digest, and the paths in the
// tables of contents are looked up among the paths that came, never on disk.
// So an archive has no way to name a place of this machine.
func (s *Store) Load(ctx context.Context, archive io.Reader, progress func(Progress)) ([]Image, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	l := &loading{store: s, blobs: make(map[string]digest.Digest), links: make(map[string]string), tables: make(map[string][]byte), progress: progress}
	defer l.release()
	if err := l.read(ctx, archive); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	add := l.fromIndex
	if l.tables["manifest.json"] != nil { // also in an archive that has both: it is the one with whole names
		add = l.fromDocker
	} else if l.tables[ocispec.ImageIndexFile] == nil {
		return nil, errorf(errdefs.ErrInvalidArgument, "load: the archive has neither a manifest.json nor an index.json")
	}
	all, err := add(ctx)
	if err != nil {
		return all, fmt.Errorf("load: %w", err)
	}
	return all, nil
}

// loading is one archive on its way in.
type loading struct {
	store    *Store
	blobs    map[string]digest.Digest // path in the archive → what it is
	links    map[string]string        // path → path
	tables   map[string][]byte        // the files that are read and not kept
	held     []func()
	progress func(Progress)

	// Of a layout in a directory:
	open       func(digest.Digest) (*os.File, error) // a blob that has not come yet; nil: all have come
	repository string                                // what a tag alone is a tag of; "" where that is not known
}

func (l *loading) release() {
	for _, release := range l.held {
		release()
	}
}

// read takes the archive apart.
func (l *loading) read(ctx context.Context, archive io.Reader) error {
	plain, err := decompress(contextReader{ctx, archive})
	if err != nil {
		return err
	}
	defer plain.Close()
	t := tar.NewReader(plain)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return errorf(errdefs.ErrInvalidArgument, "not an archive of images: %w", err)
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
		case tar.TypeSymlink: // old archives name a layer twice in this way
			l.links[name] = path.Join(path.Dir(name), h.Linkname)
			continue
		case tar.TypeLink:
			l.links[name] = path.Clean(h.Linkname)
			continue
		default:
			continue
		}
		switch name {
		case "manifest.json", ocispec.ImageIndexFile, ocispec.ImageLayoutFile, "repositories":
			if l.tables[name], err = readDocument(t, name); err != nil {
				return err
			}
			continue
		}
		if err := l.blob(name, t); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

// blob keeps a file. Where its path says what digest it has, it must have it.
func (l *loading) blob(name string, r io.Reader) error {
	var want digest.Digest
	if rest, ok := strings.CutPrefix(name, "blobs/"); ok {
		want = digest.Digest(strings.Replace(rest, "/", ":", 1))
	}
	w, err := l.store.content.Writer(want)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	d := w.Digest()
	l.held = append(l.held, l.store.hold(d))
	l.blobs[name] = d
	return w.Commit()
}

// find returns what stands at a path of the archive.
func (l *loading) find(name string) (digest.Digest, error) {
	name = path.Clean(name)
	for range 10 {
		if d, ok := l.blobs[name]; ok {
			return d, nil
		}
		to, ok := l.links[name]
		if !ok {
			break
		}
		name = to
	}
	return "", errorf(errdefs.ErrInvalidArgument, "the archive has no file %s", name)
}

// fromDocker adds the images of manifest.json. An image whose own manifest is in the archive as
// well keeps it, and with it its digest.
func (l *loading) fromDocker(ctx context.Context) ([]Image, error) {
	var entries []dockerEntry
	if err := json.Unmarshal(l.tables["manifest.json"], &entries); err != nil {
		return nil, errorf(errdefs.ErrInvalidArgument, "manifest.json: %w", err)
	}
	var all []Image
	for _, e := range entries {
		config, err := l.find(e.Config)
		if err != nil {
			return all, err
		}
		var layers []digest.Digest
		for _, name := range e.Layers {
			d, err := l.find(name)
			if err != nil {
				return all, err
			}
			layers = append(layers, d)
		}
		doc, ok := l.ownManifest(config)
		if !ok {
			if doc, err = l.makeManifest(config, layers); err != nil {
				return all, err
			}
		}
		img, err := l.add(ctx, doc, e.RepoTags...)
		if err != nil {
			return all, err
		}
		all = append(all, img)
	}
	return all, nil
}

// ownManifest looks in index.json for the manifest of the image with a config.
func (l *loading) ownManifest(config digest.Digest) (document, bool) {
	var index ocispec.Index
	if json.Unmarshal(l.tables[ocispec.ImageIndexFile], &index) != nil {
		return document{}, false
	}
	for _, desc := range index.Manifests {
		raw, err := l.store.content.Bytes(desc.Digest)
		if err != nil {
			continue
		}
		doc, err := newDocument(raw, desc.MediaType)
		if err != nil || doc.isIndex() {
			continue
		}
		if m, err := doc.manifest(); err == nil && m.Config.Digest == config {
			return doc, true
		}
	}
	return document{}, false
}

// makeManifest writes a manifest for an image that came without one.
func (l *loading) makeManifest(config digest.Digest, layers []digest.Digest) (document, error) {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	describe := func(d digest.Digest) (ocispec.Descriptor, error) {
		f, err := l.store.content.Open(d)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		magic := make([]byte, 4)
		if _, err := io.ReadFull(f, magic); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
			return ocispec.Descriptor{}, err
		}
		desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: d, Size: info.Size()}
		switch {
		case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
			desc.MediaType = ocispec.MediaTypeImageLayerGzip
		case string(magic) == "\x28\xb5\x2f\xfd":
			desc.MediaType = ocispec.MediaTypeImageLayerZstd
		}
		return desc, nil
	}
	var err error
	if m.Config, err = describe(config); err != nil {
		return document{}, err
	}
	m.Config.MediaType = ocispec.MediaTypeImageConfig
	for _, d := range layers {
		desc, err := describe(d)
		if err != nil {
			return document{}, err
		}
		m.Layers = append(m.Layers, desc)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return document{}, err
	}
	return document{m.MediaType, digest.FromBytes(raw), raw}, nil
}

// fromIndex adds the images of an OCI image layout; of an index in it, the one
// for this machine.
func (l *loading) fromIndex(ctx context.Context) ([]Image, error) {
	top, err := newDocument(l.tables[ocispec.ImageIndexFile], ocispec.MediaTypeImageIndex)
	if err != nil {
		return nil, err
	}
	manifests, err := top.index()
	if err != nil {
		return nil, err
	}
	var all []Image
	for _, desc := range manifests {
		names := l.names(desc)
		doc, err := l.document(desc)
		if err != nil {
			return all, err
		}
		for depth := 0; doc.isIndex(); depth++ {
			if depth == maxIndexDepth {
				return all, errorf(errdefs.ErrInvalidArgument, "index %s: more than %d indexes within each other", top.digest, maxIndexDepth)
			}
			inner, err := doc.index()
			if err != nil {
				return all, err
			}
			if desc, err = choosePlatform(inner, HostPlatform()); err != nil {
				return all, err
			}
			if doc, err = l.document(desc); err != nil {
				return all, err
			}
		}
		img, err := l.add(ctx, doc, names...)
		if err != nil {
			return all, err
		}
		all = append(all, img)
	}
	return all, nil
}

// names returns what an entry of an index calls its image. The annotation of
// the image specification is mostly a tag alone, that of containerd the whole
// name; a tool that knows only the first keeps the second as it was, so the
// first decides about the tag.
func (l *loading) names(desc ocispec.Descriptor) []string {
	whole, tag := desc.Annotations[annotationName], desc.Annotations[ocispec.AnnotationRefName]
	ref, err := ParseReference(whole)
	switch {
	case strings.ContainsAny(tag, ":/"):
		return []string{tag}
	case whole != "" && (err != nil || tag == ""):
		return []string{whole}
	case whole != "":
		return []string{reference.TrimNamed(ref).Name() + ":" + tag}
	case tag != "" && l.repository != "":
		return []string{l.repository + ":" + tag}
	}
	return nil // a tag of no repository that we know, or nothing
}

// maxIndexDepth limits indexes that name indexes: one is what tools write.
const maxIndexDepth = 4

// fetch makes a blob be here, where it is not and the layout has it, and keeps
// it from removal.
func (l *loading) fetch(desc ocispec.Descriptor) error {
	d := desc.Digest
	if err := checkDigest(d); err != nil {
		return err
	}
	l.held = append(l.held, l.store.hold(d))
	if l.open == nil || l.store.content.Has(d) {
		return nil
	}
	f, err := l.open(d)
	if errors.Is(err, fs.ErrNotExist) {
		return errorf(errdefs.ErrInvalidArgument, "the layout lacks the blob %s", d)
	} else if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return err
	} else if info.Size() != desc.Size {
		return errorf(errdefs.ErrDataLoss, "blob %s: its descriptor says %d bytes, the layout has %d", d, desc.Size, info.Size())
	}
	w, err := l.store.content.Writer(d)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := io.Copy(w, f); err != nil {
		return err
	}
	return w.Commit()
}

func (l *loading) document(desc ocispec.Descriptor) (document, error) {
	if err := l.fetch(desc); err != nil {
		return document{}, err
	}
	raw, err := l.store.content.Bytes(desc.Digest)
	if err != nil {
		return document{}, err
	}
	if err := checkSize(desc, raw); err != nil {
		return document{}, err
	}
	return newDocument(raw, desc.MediaType)
}

// add makes a manifest whose blobs have come an image, with all that a pull
// would check.
func (l *loading) add(ctx context.Context, doc document, names ...string) (Image, error) {
	s := l.store
	m, err := doc.manifest()
	if err != nil {
		return Image{}, err
	}
	if err := l.fetch(m.Config); err != nil {
		return Image{}, err
	}
	raw, err := s.content.Bytes(m.Config.Digest)
	if err != nil {
		return Image{}, err
	}
	config, err := parseConfig(raw, len(m.Layers))
	if err != nil {
		return Image{}, err
	}
	var normal []string
	for _, name := range names {
		ref, err := ParseReference(name)
		if err != nil {
			return Image{}, err
		}
		normal = append(normal, ref.String())
	}
	l.held = append(l.held, s.hold(append([]digest.Digest{doc.digest}, config.RootFS.DiffIDs...)...))
	for i, desc := range m.Layers {
		if err := l.fetch(desc); err != nil {
			return Image{}, err
		}
		if !s.content.Has(desc.Digest) {
			return Image{}, errorf(errdefs.ErrInvalidArgument, "the archive lacks the layer %s", desc.Digest)
		}
		if err := s.layer(ctx, nil, desc, config.RootFS.DiffIDs[i], l.progress); err != nil {
			return Image{}, err
		}
	}
	return s.add(doc, m, raw, config, normal...)
}
