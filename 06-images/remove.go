//go:build linux

package images

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
)

// Remove takes a name away, and the image with it when that was its last tag.
// Given an ID, it takes all names away; force is needed where they are of
// several repositories (the error is a FailedPrecondition). untagged has the names, deleted the
// image's ID and the diff IDs of the layers that no other image uses, whose
// files are removed.
func (s *Store) Remove(ctx context.Context, nameOrID string, force bool) (untagged []string, deleted []digest.Digest, err error) {
	// Nothing that a pull is about to use may go while we look.
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.db.Update(func(tx *bbolt.Tx) error {
		id, name, err := resolve(tx, nameOrID)
		if err != nil {
			return err
		}
		all := namesByImage(tx)[string(id)]
		untagged = all
		if name != "" {
			left := slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n == name })
			if slices.ContainsFunc(left, isTag) {
				untagged = []string{name}
			}
		} else if repositories := repositoriesOf(all); len(repositories) > 1 && !force {
			return errorf(errdefs.ErrFailedPrecondition, "conflict: unable to delete %s (must be forced) - image is referenced in multiple repositories: %s",
				shortID(id.String()), strings.Join(repositories, ", "))
		}
		for _, n := range untagged {
			if err := tx.Bucket(bucketNames).Delete([]byte(n)); err != nil {
				return err
			}
		}
		if len(untagged) < len(all) {
			return nil
		}
		deleted = append(deleted, id)
		return tx.Bucket(bucketImages).Delete([]byte(id))
	})
	if err != nil || len(deleted) == 0 {
		return untagged, deleted, err
	}
	layers, err := s.collect(ctx)
	return untagged, append(deleted, layers...), err
}

// isTag tells a name by tag from a name by digest.
func isTag(name string) bool { return !strings.Contains(name, "@") }

// repositoriesOf returns the repositories of names by tag.
func repositoriesOf(names []string) []string {
	var repositories []string
	for _, n := range names {
		if isTag(n) {
			repositories = append(repositories, n[:strings.LastIndex(n, ":")])
		}
	}
	slices.Sort(repositories)
	return slices.Compact(repositories)
}

// collect removes every layer and every blob that no image needs and nobody
// holds, and returns the layers' diff IDs. It asks what is needed rather than
// counting who needs it: a count can be wrong after a crash, the answer cannot.
// s.mu is held by the caller.
func (s *Store) collect(ctx context.Context) (layers []digest.Digest, err error) {
	needed := make(map[digest.Digest]bool)
	for d := range s.held {
		needed[d] = true
	}
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketImages).ForEach(func(id, _ []byte) error {
			record, err := loadRecord(tx, digest.Digest(id))
			if err != nil {
				return err
			}
			needed[digest.Digest(id)] = true
			needed[record.Manifest] = true
			for _, d := range slices.Concat(record.Layers, record.DiffIDs) {
				needed[d] = true
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}

	diffIDs, err := s.layers.List()
	if err != nil {
		return nil, err
	}
	for _, d := range diffIDs {
		if needed[d] {
			continue
		}
		if err := s.layers.Remove(ctx, d); err != nil {
			return layers, fmt.Errorf("remove layer %s: %w", d, err)
		}
		layers = append(layers, d)
	}

	blobs, err := s.content.List()
	if err != nil {
		return layers, err
	}
	var gone []digest.Digest
	for _, d := range blobs {
		if needed[d] {
			continue
		}
		chapter.Call(ctx, "no image names this blob", "unlink(%q)", s.content.path(d))
		if err := s.content.Remove(d); err != nil {
			return layers, err
		}
		gone = append(gone, d)
	}
	return layers, s.db.Update(func(tx *bbolt.Tx) error {
		for _, d := range gone {
			if err := tx.Bucket(bucketBlobs).Delete([]byte(d)); err != nil {
				return err
			}
		}
		return nil
	})
}
