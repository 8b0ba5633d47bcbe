//go:build linux

package images

import (
	"cmp"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
)

// Node is a layer in the tree that all images are: below each other stand the
// layers of one image, the lowest first, and images are one path as long as
// their layers are the same ones. The root of the tree has no layer.
type Node struct {
	DiffID   digest.Digest // "" in the root
	Unpacked int64         // bytes of the layer's files
	Packed   int64         // bytes of its blobs, which is 0 where none is here
	Again    bool          // the layer stands in the tree before as well; on disk it is once
	Images   []Image       // whose top layer this is
	Above    []*Node
}

// Tree returns how the images of the store share their layers.
func (s *Store) Tree() (*Node, error) {
	images, err := s.List()
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(images, func(a, b Image) int {
		return cmp.Or(slices.Compare(a.DiffIDs, b.DiffIDs), slices.Compare(a.Tags, b.Tags), cmp.Compare(a.ID, b.ID))
	})
	packed, err := s.packed(images)
	if err != nil {
		return nil, err
	}
	root := new(Node)
	seen := make(map[digest.Digest]bool)
	for _, img := range images {
		at := root
		for _, d := range img.DiffIDs {
			i := slices.IndexFunc(at.Above, func(n *Node) bool { return n.DiffID == d })
			if i < 0 {
				size, err := s.layers.Size(d)
				if err != nil {
					return nil, err
				}
				i = len(at.Above)
				at.Above = append(at.Above, &Node{DiffID: d, Unpacked: size, Packed: packed[d], Again: seen[d]})
				seen[d] = true
			}
			at = at.Above[i]
		}
		at.Images = append(at.Images, img)
	}
	return root, nil
}

// packed returns how many bytes the blobs have that unpack to each layer. A
// layer may have several: the same tar, compressed in two ways.
func (s *Store) packed(images []Image) (map[digest.Digest]int64, error) {
	sizes := make(map[digest.Digest]int64)
	seen := make(map[digest.Digest]bool)
	err := s.db.View(func(tx *bbolt.Tx) error {
		for _, img := range images {
			record, err := loadRecord(tx, img.ID)
			if err != nil {
				return err
			}
			for i, blob := range record.Layers {
				info, err := os.Stat(s.content.path(blob))
				if err != nil || seen[blob] {
					continue // a blob that went needs no room
				}
				seen[blob] = true
				sizes[record.DiffIDs[i]] += info.Size()
			}
		}
		return nil
	})
	return sizes, err
}

// Disk returns what the layers of the node and of all that stands above it need
// on disk, each counted once: unpacked, and as blobs, in bytes.
func (n *Node) Disk() (unpacked, packed int64) {
	if !n.Again {
		unpacked, packed = n.Unpacked, n.Packed
	}
	for _, above := range n.Above {
		u, p := above.Disk()
		unpacked, packed = unpacked+u, packed+p
	}
	return unpacked, packed
}
