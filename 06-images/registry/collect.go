//go:build linux

package registry

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
)

// Collect removes from each repository the blobs that none of its manifests
// names and the uploads that nobody goes on with, and then the bytes of what no
// repository has. Manifests stay, with a tag or without: somebody may know their digest.
//
// What is younger than grace stays as well: a client pushes blobs first, and
// the manifest that names them last. It returns the number of bytes that it freed.
func (reg *Registry) Collect(ctx context.Context, grace time.Duration) (freed int64, err error) {
	reg.refs.Lock()
	defer reg.refs.Unlock()
	before := time.Now().Add(-grace)
	repos, err := reg.repositories()
	if err != nil {
		return 0, err
	}
	linked := make(map[digest.Digest]bool)
	for _, repo := range repos {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := reg.collectIn(repo, before, linked); err != nil {
			return 0, err
		}
	}
	blobs, err := reg.content.List()
	if err != nil {
		return 0, err
	}
	for _, d := range blobs {
		if linked[d] {
			continue
		}
		n, err := reg.removeContent(ctx, d)
		if err != nil {
			return freed, err
		}
		freed += n
	}
	return freed, nil
}

// collectIn removes the links and uploads of a repository that are older than
// before and needless, and adds what it has to linked.
func (reg *Registry) collectIn(repo repository, before time.Time, linked map[digest.Digest]bool) error {
	needed := make(map[digest.Digest]bool)
	manifests, err := repo.manifests()
	if err != nil {
		return err
	}
	for _, d := range manifests {
		linked[d] = true
		mediaType, err := repo.mediaType(d)
		if err != nil {
			return err
		}
		raw, err := reg.content.Bytes(d)
		if err != nil {
			return err
		}
		m, err := parseManifest(raw, mediaType)
		if err != nil {
			return err
		}
		for _, desc := range m.blobs() {
			needed[desc.Digest] = true
		}
	}
	blobs, err := digestsIn(filepath.Join(repo.dir, "_blobs"))
	if err != nil {
		return err
	}
	for _, d := range blobs {
		removed := false
		if !needed[d] {
			if removed, err = removeOlder(repo.blobLink(d), before); err != nil {
				return err
			}
		}
		if !removed {
			linked[d] = true
		}
	}
	uploads, err := os.ReadDir(filepath.Join(repo.dir, "_uploads"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range uploads {
		path := filepath.Join(repo.dir, "_uploads", e.Name())
		removed, err := removeOlder(path, before)
		if err != nil {
			return err
		}
		if removed {
			reg.mu.Lock()
			delete(reg.uploads, path)
			reg.mu.Unlock()
		}
	}
	return nil
}

// removeOlder removes a file that was last written before a time.
func removeOlder(path string, before time.Time) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.ModTime().After(before) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return true, os.Remove(path)
}

// removeUnlinked removes the bytes of a blob or manifest that no repository has
// any more. reg.refs is held for writing.
func (reg *Registry) removeUnlinked(ctx context.Context, d digest.Digest) error {
	repos, err := reg.repositories()
	if err != nil {
		return err
	}
	for _, repo := range repos {
		if repo.hasBlob(d) {
			return nil
		}
		if _, err := repo.mediaType(d); err == nil {
			return nil
		}
	}
	_, err = reg.removeContent(ctx, d)
	return err
}

func (reg *Registry) removeContent(ctx context.Context, d digest.Digest) (size int64, err error) {
	f, err := reg.content.Open(d)
	if err != nil {
		return 0, nil // gone already
	}
	info, err := f.Stat()
	f.Close()
	if err != nil {
		return 0, err
	}
	chapter.Call(ctx, "no repository has this blob", "unlink(%q)", f.Name())
	return info.Size(), reg.content.Remove(d)
}
