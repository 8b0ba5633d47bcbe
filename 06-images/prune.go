//go:build linux

package images

import (
	"context"
	"os"

	"github.com/opencontainers/go-digest"
)

// Dangling says that an image has no tag: another image has taken it.
func Dangling(img Image) bool { return len(img.Tags) == 0 }

// Prune removes the images that unwanted chooses and nobody holds, and what
// only they needed. It returns as [Store.Remove] does, and how many bytes the
// disk has back, of blobs and of layers.
func (s *Store) Prune(ctx context.Context, unwanted func(Image) bool) (untagged []string, deleted []digest.Digest, freed int64, err error) {
	before, err := s.Usage()
	if err != nil {
		return nil, nil, 0, err
	}
	all, err := s.List()
	if err != nil {
		return nil, nil, 0, err
	}
	for _, img := range all {
		if s.isHeld(img.ID) || !unwanted(img) {
			continue
		}
		names, gone, err := s.Remove(ctx, img.ID.String(), true)
		untagged, deleted = append(untagged, names...), append(deleted, gone...)
		if err != nil {
			return untagged, deleted, 0, err
		}
	}
	// Also what pulls have left that were cut short.
	s.mu.Lock()
	layers, err := s.collect(ctx)
	s.mu.Unlock()
	deleted = append(deleted, layers...)
	if err != nil {
		return untagged, deleted, 0, err
	}
	after, err := s.Usage()
	return untagged, deleted, before - after, err
}

func (s *Store) isHeld(d digest.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[d] > 0
}

// Usage returns how many bytes the store's blobs and unpacked layers have.
func (s *Store) Usage() (int64, error) {
	var total int64
	blobs, err := s.content.List()
	if err != nil {
		return 0, err
	}
	for _, d := range blobs {
		if info, err := os.Stat(s.content.path(d)); err == nil { // else it went meanwhile
			total += info.Size()
		}
	}
	layers, err := s.layers.List()
	if err != nil {
		return 0, err
	}
	for _, d := range layers {
		if size, err := s.layers.Size(d); err == nil {
			total += size
		}
	}
	return total, nil
}
