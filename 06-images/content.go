//go:build linux

package images

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	_ "crypto/sha512" // the second algorithm that the image specification registers

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// tmpPrefix begins the names of blobs that are still being written.
const tmpPrefix = ".tmp-"

// Content is a directory of blobs, each in a file that bears its digest:
// sha256/2cf2…. A file is there when it is complete, on disk, and has been
// checked, and not before. The layout is that of an OCI image layout's blobs/.
type Content struct {
	dir string
}

// OpenContent opens the directory, makes it where it is missing, and removes
// what writers that were killed have left. No second process may use it.
func OpenContent(dir string) (*Content, error) {
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		sub := filepath.Join(dir, algorithm.String())
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return nil, err
		}
		entries, err := os.ReadDir(sub)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), tmpPrefix) {
				if err := os.Remove(filepath.Join(sub, e.Name())); err != nil {
					return nil, err
				}
			}
		}
	}
	return &Content{dir}, nil
}

// checkDigest refuses what is no digest of an algorithm that we compute: a
// digest becomes a file name, and comes from documents of strangers.
func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return errorf(errdefs.ErrInvalidArgument, "digest %q: %w", string(d), err)
	}
	if a := d.Algorithm(); a != digest.SHA256 && a != digest.SHA512 {
		return errorf(errdefs.ErrInvalidArgument, "digest %q: neither sha256 nor sha512", string(d))
	}
	return nil
}

// path returns the file of a valid digest.
func (c *Content) path(d digest.Digest) string {
	return filepath.Join(c.dir, d.Algorithm().String(), d.Encoded())
}

// Has says whether the blob is here.
func (c *Content) Has(d digest.Digest) bool {
	if checkDigest(d) != nil {
		return false
	}
	_, err := os.Stat(c.path(d))
	return err == nil
}

// Open opens a blob; the caller closes it. The error for a blob that is not
// here is NotFound.
func (c *Content) Open(d digest.Digest) (*os.File, error) {
	if err := checkDigest(d); err != nil {
		return nil, err
	}
	f, err := os.Open(c.path(d))
	if errors.Is(err, os.ErrNotExist) {
		return nil, errorf(errdefs.ErrNotFound, "blob %s is not here: %w", d, err)
	}
	return f, err
}

// Check reads a blob again and holds it against its digest; DataLoss says that
// it has changed since it was written.
func (c *Content) Check(d digest.Digest) error {
	f, err := c.Open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := d.Algorithm().FromReader(f)
	if err != nil {
		return err
	}
	if got != d {
		return errorf(errdefs.ErrDataLoss, "blob does not match its digest: want %s, got %s", d, got)
	}
	return nil
}

// Bytes returns a blob of at most maxDocument bytes: a manifest or a config.
func (c *Content) Bytes(d digest.Digest) ([]byte, error) {
	f, err := c.Open(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readDocument(f, "blob "+d.String())
}

// Put writes a blob that is in memory and returns its digest.
func (c *Content) Put(b []byte) (digest.Digest, error) {
	d := digest.FromBytes(b)
	if c.Has(d) {
		return d, nil
	}
	w, err := c.Writer(d)
	if err != nil {
		return "", err
	}
	defer w.Close()
	if _, err := w.Write(b); err != nil {
		return "", err
	}
	return d, w.Commit()
}

// Adopt makes a file on the same file system a blob. The caller has checked
// that it is what the digest says, and gives the file away.
func (c *Content) Adopt(file string, d digest.Digest) error {
	if err := checkDigest(d); err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(file, c.path(d)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(c.path(d)))
}

// Remove deletes a blob; that it is not here is no error.
func (c *Content) Remove(d digest.Digest) error {
	if err := checkDigest(d); err != nil {
		return err
	}
	if err := os.Remove(c.path(d)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// List returns the digests of all blobs.
func (c *Content) List() ([]digest.Digest, error) {
	var all []digest.Digest
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		entries, err := os.ReadDir(filepath.Join(c.dir, algorithm.String()))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if d := digest.NewDigestFromEncoded(algorithm, e.Name()); d.Validate() == nil {
				all = append(all, d)
			}
		}
	}
	return all, nil
}

// BlobWriter writes one blob under a temporary name. What was written becomes
// a blob by Commit; without it Close leaves nothing.
type BlobWriter struct {
	content *Content
	want    digest.Digest // "" where the digest is whatever is written
	file    *os.File
	hash    hash.Hash
	size    int64
}

// Writer starts a blob with the digest want, or, where want is "", one whose
// digest (sha256) is asked for after it is written.
func (c *Content) Writer(want digest.Digest) (*BlobWriter, error) {
	algorithm := digest.Canonical
	if want != "" {
		if err := checkDigest(want); err != nil {
			return nil, err
		}
		algorithm = want.Algorithm()
	}
	f, err := os.CreateTemp(filepath.Join(c.dir, algorithm.String()), tmpPrefix)
	if err != nil {
		return nil, err
	}
	return &BlobWriter{content: c, want: want, file: f, hash: algorithm.Hash()}, nil
}

func (w *BlobWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.hash.Write(p[:n])
	w.size += int64(n)
	return n, err
}

// Digest returns the digest of what has been written so far.
func (w *BlobWriter) Digest() digest.Digest {
	algorithm := digest.Canonical
	if w.want != "" {
		algorithm = w.want.Algorithm()
	}
	return digest.NewDigest(algorithm, w.hash)
}

// Verify fails where what has been written is not the blob that was announced.
func (w *BlobWriter) Verify() error {
	if got := w.Digest(); w.want != "" && got != w.want {
		return errorf(errdefs.ErrDataLoss, "blob does not match its digest: want %s, got %s (%d bytes)", w.want, got, w.size)
	}
	return nil
}

// Commit checks the digest, waits until the bytes are on disk, and gives the
// blob its name.
func (w *BlobWriter) Commit() error {
	if err := w.Verify(); err != nil {
		return err
	}
	// fsync before rename: after a power cut a name must not stand for bytes
	// that never arrived.
	if err := w.file.Sync(); err != nil {
		return err
	}
	name := w.content.path(w.Digest())
	if err := os.Rename(w.file.Name(), name); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(name)); err != nil {
		return err
	}
	return w.file.Close()
}

// Close ends the writer; what was not committed is removed.
func (w *BlobWriter) Close() error {
	if err := w.file.Close(); errors.Is(err, os.ErrClosed) {
		return nil // committed
	}
	return os.Remove(w.file.Name())
}

// syncDir makes a rename in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// maxDocument limits what is read into memory: manifests, indexes, configs,
// tokens. The distribution specification asks registries to take manifests of
// up to 4 MiB.
const maxDocument = 4 << 20

// readDocument reads all of r, and fails where it is larger than maxDocument.
func readDocument(r io.Reader, what string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if len(b) > maxDocument {
		return nil, errorf(errdefs.ErrInvalidArgument, "%s is larger than %d bytes", what, maxDocument)
	}
	return b, nil
}
