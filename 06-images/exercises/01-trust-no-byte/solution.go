//go:build solution

// Package trustnobyte is an exercise of chapter 6.
package trustnobyte

import (
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
)

// Verify returns a reader of the blob that r sends. It ends with io.EOF if r
// has sent size bytes with the digest want and then ended, and with another
// error in every other case. It never passes on more than size bytes.
func Verify(r io.Reader, want digest.Digest, size int64) io.Reader {
	return &verifier{r: r, check: want.Verifier(), want: want, left: size}
}

type verifier struct {
	r     io.Reader
	check digest.Verifier
	want  digest.Digest
	left  int64
}

func (v *verifier) Read(p []byte) (int, error) {
	// One byte more than there may be shows a blob that is too long.
	if int64(len(p)) > v.left+1 {
		p = p[:v.left+1]
	}
	n, err := v.r.Read(p)
	if int64(n) > v.left {
		return 0, fmt.Errorf("blob %s goes on after its end", v.want)
	}
	v.check.Write(p[:n])
	v.left -= int64(n)
	if err != io.EOF {
		return n, err
	}
	if v.left > 0 {
		return n, fmt.Errorf("blob %s ends %d bytes early: %w", v.want, v.left, io.ErrUnexpectedEOF)
	}
	if !v.check.Verified() {
		return n, fmt.Errorf("blob does not match its digest %s", v.want)
	}
	return n, io.EOF
}
