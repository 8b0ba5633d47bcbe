//go:build linux

package registry

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	_ "crypto/sha512" // the second algorithm that the image specification registers

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Names and tags, as the distribution specification has them (section
// "Pulling manifests"). What matches is also a safe path.
var (
	namePattern = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagPattern  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

// validName says whether a repository may have the name. 255 characters with
// the registry's host is what clients allow.
func validName(name string) bool { return len(name) <= 255 && namePattern.MatchString(name) }

// parseDigest reads a digest of an algorithm that is computed here.
func parseDigest(s string) (digest.Digest, error) {
	d := digest.Digest(s)
	if err := d.Validate(); err != nil || d.Algorithm() != digest.SHA256 && d.Algorithm() != digest.SHA512 {
		return "", &Error{http.StatusBadRequest, "DIGEST_INVALID", "not a sha256 or sha512 digest", s}
	}
	return d, nil
}

// repository is one repository on disk: files that refer to blobs.
type repository struct {
	reg  *Registry
	name string
	dir  string
}

func (reg *Registry) repository(name string) repository {
	return repository{reg, name, filepath.Join(reg.dir, "repositories", filepath.FromSlash(name))}
}

func (r repository) blobLink(d digest.Digest) string {
	return filepath.Join(r.dir, "_blobs", d.Algorithm().String(), d.Encoded())
}

func (r repository) manifestLink(d digest.Digest) string {
	return filepath.Join(r.dir, "_manifests", d.Algorithm().String(), d.Encoded())
}

func (r repository) tagLink(tag string) string { return filepath.Join(r.dir, "_tags", tag) }

func (r repository) referrersOf(subject digest.Digest) string {
	return filepath.Join(r.dir, "_referrers", subject.Algorithm().String(), subject.Encoded())
}

// hasBlob says whether the repository has a blob.
func (r repository) hasBlob(d digest.Digest) bool {
	_, err := os.Stat(r.blobLink(d))
	return err == nil
}

// linkBlob makes a blob that is in the registry one of the repository's.
// Where it is one already, its age starts again, as for [Registry.Collect].
func (r repository) linkBlob(d digest.Digest) error {
	now := time.Now()
	if err := os.Chtimes(r.blobLink(d), now, now); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return r.reg.writeFile(r.blobLink(d), nil)
}

// mediaType returns a manifest's media type; the error is MANIFEST_UNKNOWN
// where the repository does not have it.
func (r repository) mediaType(d digest.Digest) (string, error) {
	raw, err := os.ReadFile(r.manifestLink(d))
	if errors.Is(err, fs.ErrNotExist) {
		return "", &Error{http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown", d}
	}
	return string(raw), err
}

// resolve returns the digest that a reference, a tag or a digest, names now.
func (r repository) resolve(reference string) (digest.Digest, error) {
	if strings.Contains(reference, ":") {
		return parseDigest(reference)
	}
	unknown := &Error{http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown", reference}
	if !tagPattern.MatchString(reference) {
		return "", unknown
	}
	raw, err := os.ReadFile(r.tagLink(reference))
	if errors.Is(err, fs.ErrNotExist) {
		return "", unknown
	}
	return digest.Digest(raw), err
}

// manifests returns the digests of the repository's manifests.
func (r repository) manifests() ([]digest.Digest, error) {
	return digestsIn(filepath.Join(r.dir, "_manifests"))
}

// tags returns the repository's tags in lexical order, and no error where it
// has none.
func (r repository) tags() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(r.dir, "_tags"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	tags := make([]string, 0, len(entries))
	for _, e := range entries { // os.ReadDir sorts, by bytes
		tags = append(tags, e.Name())
	}
	return tags, nil
}

// referrers returns the descriptors of the manifests whose subject is given.
func (r repository) referrers(subject digest.Digest) ([]ocispec.Descriptor, error) {
	entries, err := os.ReadDir(r.referrersOf(subject))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	all := []ocispec.Descriptor{} // "[]" in JSON, never "null"
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(r.referrersOf(subject), e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		} else if err != nil {
			return nil, err
		}
		var desc ocispec.Descriptor
		if err := json.Unmarshal(raw, &desc); err != nil {
			return nil, err
		}
		all = append(all, desc)
	}
	return all, nil
}

// digestsIn lists a directory of ALGORITHM/HEX; it may be missing.
func digestsIn(dir string) ([]digest.Digest, error) {
	var all []digest.Digest
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		entries, err := os.ReadDir(filepath.Join(dir, algorithm.String()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			all = append(all, digest.NewDigestFromEncoded(algorithm, e.Name()))
		}
	}
	return all, nil
}

// repositories returns all repositories that have anything.
func (reg *Registry) repositories() ([]repository, error) {
	var all []repository
	base := filepath.Join(reg.dir, "repositories")
	seen := ""
	err := filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || !strings.HasPrefix(d.Name(), "_") {
			return err
		}
		if dir := filepath.Dir(path); dir != seen { // the first of its directories with "_"
			seen = dir
			name, err := filepath.Rel(base, dir)
			if err != nil {
				return err
			}
			all = append(all, reg.repository(filepath.ToSlash(name)))
		}
		return fs.SkipDir
	})
	return all, err
}

// writeFile makes a file with the content b appear at path, complete and on
// disk, in place of one that may be there.
func (reg *Registry) writeFile(path string, b []byte) error {
	if err := makeDirs(filepath.Dir(path)); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Join(reg.dir, "tmp"), "")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// makeDirs is os.MkdirAll whose directories survive a power cut.
func makeDirs(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDirs(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func removeAllIn(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}
