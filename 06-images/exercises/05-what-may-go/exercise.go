//go:build !solution

// Package whatmaygo is an exercise of chapter 6.
package whatmaygo

import (
	"time"

	"github.com/opencontainers/go-digest"
)

// Blob is something that a registry keeps.
type Blob struct {
	Refers  []digest.Digest // for a manifest or an index: what it names
	Arrived time.Time
}

// Garbage returns, in any order, the blobs that no tag leads to, neither directly nor over
// others, and that arrived before the time before. Documents may name what is not here.
func Garbage(blobs map[digest.Digest]Blob, tags map[string]digest.Digest, before time.Time) []digest.Digest {
	return nil
}
