//go:build linux

package images

import ocispec "github.com/opencontainers/image-spec/specs-go/v1"

// HistoryEntry is one step by which an image was made.
type HistoryEntry struct {
	ocispec.History
	Size int64 // bytes that the step's layer has unpacked; 0 where it made none
}

// History returns how an image was made, the last step first. It is what the
// config says; layers that it does not mention come at the top, as steps of which nothing is known.
func (s *Store) History(img Image) ([]HistoryEntry, error) {
	var all []HistoryEntry
	layer := 0
	add := func(h ocispec.History) error {
		entry := HistoryEntry{History: h}
		if !h.EmptyLayer && layer < len(img.DiffIDs) {
			size, err := s.layers.Size(img.DiffIDs[layer])
			if err != nil {
				return err
			}
			entry.Size = size
			layer++
		}
		all = append([]HistoryEntry{entry}, all...)
		return nil
	}
	for _, h := range img.Config.History {
		if err := add(h); err != nil {
			return nil, err
		}
	}
	for layer < len(img.DiffIDs) {
		if err := add(ocispec.History{Created: img.Config.Created}); err != nil {
			return nil, err
		}
	}
	return all, nil
}
