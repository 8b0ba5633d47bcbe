//go:build !solution

// Package trustnobyte is an exercise of chapter 6.
package trustnobyte

import (
	"io"

	"github.com/opencontainers/go-digest"
)

// Verify returns a reader of the blob that r sends. It ends with io.EOF if r
// has sent size bytes with the digest want and then ended, and with another
// error in every other case. It never passes on more than size bytes.
func Verify(r io.Reader, want digest.Digest, size int64) io.Reader {
	return r
}
