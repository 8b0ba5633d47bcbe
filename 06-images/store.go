//go:build linux

package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"drydock.example/04-overlayfs"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Image is one image of the store: a config, and layers that are unpacked.
type Image struct {
	ID          digest.Digest     // digest of the config
	Tags        []string          // names by tag, in normal form: docker.io/library/debian:12
	Digests     []string          // names by digest, where it came from: docker.io/library/debian@sha256:…
	Manifest    digest.Digest     // digest of the manifest, which is in Content
	Annotations map[string]string // of the manifest
	Config      ocispec.Image     // how to run it
	DiffIDs     []digest.Digest   // its layers, the lowest first
	Size        int64             // bytes of its layers, unpacked
	Created     time.Time         // when it was built, as its config says; zero where it does not
}

// Store keeps images. Its methods may be called from many goroutines; a second
// process is kept out by the lock on the database.
type Store struct {
	content *Content
	layers  *overlayfs.Store
	db      *bbolt.DB
	flights flights

	// mu guards held, and is what a removal and the start of a pull exclude
	// each other with: what is held is not removed.
	mu   sync.Mutex
	held map[digest.Digest]int
}

// The buckets of the database.
var (
	bucketImages = []byte("images")      // image ID → imageRecord
	bucketNames  = []byte("image-names") // reference in normal form → image ID
	bucketBlobs  = []byte("image-blobs") // digest of a layer's blob → the diff ID that it was seen to unpack to
)

// imageRecord is what the database knows of an image beyond its config.
type imageRecord struct {
	Manifest    digest.Digest
	Annotations map[string]string
	Layers      []digest.Digest // blobs, as in the manifest
	DiffIDs     []digest.Digest
	Size        int64
}

// Open opens the store in root: root/content and root/layers, with images and
// names in buckets of db. It removes what a process that was killed had begun
// to write.
func Open(root string, db *bbolt.DB) (*Store, error) {
	content, err := OpenContent(filepath.Join(root, "content"))
	if err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	layers, err := overlayfs.OpenStore(filepath.Join(root, "layers"))
	if err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketImages, bucketNames, bucketBlobs} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	return &Store{content: content, layers: layers, db: db, held: make(map[digest.Digest]int)}, nil
}

// List returns all images, the newest first.
func (s *Store) List() ([]Image, error) {
	var all []Image
	err := s.db.View(func(tx *bbolt.Tx) error {
		names := namesByImage(tx)
		return tx.Bucket(bucketImages).ForEach(func(id, _ []byte) error {
			img, err := s.load(tx, digest.Digest(id), names[string(id)])
			if err != nil {
				return err
			}
			all = append(all, img)
			return nil
		})
	})
	slices.SortStableFunc(all, func(a, b Image) int { return b.Created.Compare(a.Created) })
	return all, err
}

// Get returns the image with a name, a digest, an ID, or the first hexadecimal
// digits of one ID. The error is NotFound, and InvalidArgument where the digits
// fit several images.
func (s *Store) Get(nameOrID string) (Image, error) {
	var img Image
	err := s.db.View(func(tx *bbolt.Tx) error {
		id, _, err := resolve(tx, nameOrID)
		if err != nil {
			return err
		}
		img, err = s.load(tx, id, namesByImage(tx)[string(id)])
		return err
	})
	return img, err
}

// resolve returns the image that nameOrID means, and the key in bucketNames by
// which it was found, "" where it was found by ID.
func resolve(tx *bbolt.Tx, nameOrID string) (digest.Digest, string, error) {
	images, names := tx.Bucket(bucketImages), tx.Bucket(bucketNames)
	if d := digest.Digest(nameOrID); d.Validate() == nil && images.Get([]byte(d)) != nil {
		return d, "", nil
	}
	ref, refErr := ParseReference(nameOrID)
	if refErr == nil {
		if id := names.Get([]byte(ref.String())); id != nil {
			return digest.Digest(id), ref.String(), nil
		}
	}
	if prefix := strings.TrimPrefix(nameOrID, "sha256:"); isHex(prefix) {
		key := []byte("sha256:" + prefix)
		c := images.Cursor()
		first, _ := c.Seek(key)
		if strings.HasPrefix(string(first), string(key)) {
			if second, _ := c.Next(); strings.HasPrefix(string(second), string(key)) {
				return "", "", errorf(errdefs.ErrInvalidArgument, "%s is the beginning of several image IDs", nameOrID)
			}
			return digest.Digest(first), "", nil
		}
		if len(prefix) == 64 {
			return "", "", errorf(errdefs.ErrNotFound, "No such image: %s", nameOrID)
		}
	}
	if refErr != nil {
		return "", "", refErr
	}
	return "", "", errorf(errdefs.ErrNotFound, "No such image: %s", Familiar(ref))
}

func isHex(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// namesByImage returns the names of all images by image ID, in order.
func namesByImage(tx *bbolt.Tx) map[string][]string {
	names := make(map[string][]string)
	// The callback returns nil, so ForEach has no error to tell of.
	_ = tx.Bucket(bucketNames).ForEach(func(name, id []byte) error {
		names[string(id)] = append(names[string(id)], string(name))
		return nil
	})
	return names
}

// load reads one image.
func (s *Store) load(tx *bbolt.Tx, id digest.Digest, names []string) (Image, error) {
	record, err := loadRecord(tx, id)
	if err != nil {
		return Image{}, err
	}
	raw, err := s.content.Bytes(id)
	if err != nil {
		return Image{}, fmt.Errorf("image %s: %w", id, err)
	}
	img := Image{ID: id, Manifest: record.Manifest, Annotations: record.Annotations, DiffIDs: record.DiffIDs, Size: record.Size}
	if err := json.Unmarshal(raw, &img.Config); err != nil {
		return Image{}, fmt.Errorf("image %s: %w", id, err)
	}
	if img.Config.Created != nil {
		img.Created = *img.Config.Created
	}
	for _, name := range names {
		if strings.Contains(name, "@") {
			img.Digests = append(img.Digests, name)
		} else {
			img.Tags = append(img.Tags, name)
		}
	}
	return img, nil
}

func loadRecord(tx *bbolt.Tx, id digest.Digest) (imageRecord, error) {
	var record imageRecord
	value := tx.Bucket(bucketImages).Get([]byte(id))
	if value == nil {
		return record, errorf(errdefs.ErrNotFound, "No such image: %s", id)
	}
	if err := json.Unmarshal(value, &record); err != nil {
		return record, fmt.Errorf("image %s in the database: %w", id, err)
	}
	return record, nil
}

// Lower returns the directories of an image's layers as an overlay mount takes
// them: the top one first.
func (s *Store) Lower(img Image) ([]string, error) {
	return s.layers.Lower(img.DiffIDs)
}

// Content returns the blobs: the config of an image by its ID, its manifest by
// its manifest's digest, its layers as the manifest names them.
func (s *Store) Content() *Content { return s.content }

// Tag gives the image src a further name; a name that another image has moves.
func (s *Store) Tag(src, dst string) error {
	ref, err := ParseReference(dst)
	if err != nil {
		return err
	}
	if _, ok := ref.(reference.Canonical); ok {
		return errorf(errdefs.ErrInvalidArgument, "%s: refusing to create a tag with a digest reference", dst)
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		id, _, err := resolve(tx, src)
		if err != nil {
			return err
		}
		return tx.Bucket(bucketNames).Put([]byte(ref.String()), []byte(id))
	})
}

// add writes the manifest and the config of an image whose layers are here,
// records it under the names, and returns it. The image is known and named in
// one transaction.
func (s *Store) add(manifest document, m ocispec.Manifest, rawConfig []byte, config ocispec.Image, names ...string) (Image, error) {
	for _, raw := range [][]byte{rawConfig, manifest.raw} {
		if _, err := s.content.Put(raw); err != nil {
			return Image{}, err
		}
	}
	record := imageRecord{Manifest: manifest.digest, Annotations: m.Annotations, DiffIDs: config.RootFS.DiffIDs}
	for _, l := range m.Layers {
		record.Layers = append(record.Layers, l.Digest)
	}
	for _, d := range record.DiffIDs {
		size, err := s.layers.Size(d)
		if err != nil {
			return Image{}, err
		}
		record.Size += size
	}
	value, err := json.Marshal(record)
	if err != nil {
		return Image{}, err
	}
	id := m.Config.Digest
	var img Image
	err = s.db.Update(func(tx *bbolt.Tx) error {
		if err := tx.Bucket(bucketImages).Put([]byte(id), value); err != nil {
			return err
		}
		for _, name := range names {
			if err := tx.Bucket(bucketNames).Put([]byte(name), []byte(id)); err != nil {
				return err
			}
		}
		img, err = s.load(tx, id, namesByImage(tx)[string(id)])
		return err
	})
	return img, err
}

// Hold keeps the blobs and layers of an image on disk until release is called,
// also when the image is removed: the layers below a container that exists.
func (s *Store) Hold(img Image) (release func()) {
	digests := append([]digest.Digest{img.ID, img.Manifest}, img.DiffIDs...)
	return s.hold(digests...)
}

// hold keeps blobs and layers from removal until release is called.
func (s *Store) hold(digests ...digest.Digest) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range digests {
		s.held[d]++
	}
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, d := range digests {
			if s.held[d]--; s.held[d] == 0 {
				delete(s.held, d)
			}
		}
	})
}

// knownDiffID returns what a layer's blob was seen to unpack to, "" where it
// was not seen yet.
func (s *Store) knownDiffID(blob digest.Digest) (diffID digest.Digest, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		diffID = digest.Digest(tx.Bucket(bucketBlobs).Get([]byte(blob)))
		return nil
	})
	return diffID, err
}

// recordDiffID remembers what a layer's blob unpacked to. Batch joins the
// transactions, and so the fsyncs, of layers that are ready together.
func (s *Store) recordDiffID(blob, diffID digest.Digest) error {
	return s.db.Batch(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketBlobs).Put([]byte(blob), []byte(diffID))
	})
}

// OpenDB opens the database file of a store that has one of its own, for
// programs that are no engine. It waits at most a second for another process
// that has it open; then the error is Unavailable.
func OpenDB(path string) (*bbolt.DB, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, errorf(errdefs.ErrUnavailable, "%s is in use by another process", path)
	}
	return db, err
}
