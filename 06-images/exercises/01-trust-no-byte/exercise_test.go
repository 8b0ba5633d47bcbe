//go:build exercise || solution

package trustnobyte

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
)

const blob = "the bytes of a layer, compressed"

// endless never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestVerify(t *testing.T) {
	tests := []struct {
		name  string
		sent  io.Reader
		right bool
		hint  string
	}{
		{"as it should be", strings.NewReader(blob), true, "a blob that is right must end with io.EOF"},
		{"byte by byte", iotest.OneByteReader(strings.NewReader(blob)), true, "a blob comes in many pieces: is the digest that of all of them?"},
		{"the last bytes together with io.EOF", iotest.DataErrReader(strings.NewReader(blob)), true, "a reader may return bytes and io.EOF in one call: see io.Reader"},
		{"one bit differs", strings.NewReader(strings.Replace(blob, "layer", "lawer", 1)), false, "nobody compared the digest at the end"},
		{"cut", strings.NewReader(blob[:10]), false, "the connection ended early and nobody noticed"},
		{"one byte too many", strings.NewReader(blob + "!"), false, "what stands behind the blob's end belongs to nobody"},
		{"without end", io.MultiReader(strings.NewReader(blob), endless{}), false, "a registry decided how much you read"},
		{"the network fails", io.MultiReader(strings.NewReader(blob[:10]), iotest.ErrReader(errors.New("reset"))), false, "the error of the network got lost"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got bytes.Buffer
			r := Verify(tt.sent, digest.FromString(blob), int64(len(blob)))
			_, err := io.CopyN(&got, r, int64(len(blob))+100) // io.EOF is the end
			switch {
			case tt.right && (err != io.EOF || got.String() != blob):
				t.Errorf("read %q, %v. %s", got.String(), err, tt.hint)
			case !tt.right && (err == nil || err == io.EOF):
				t.Errorf("read %d bytes, %v: taken for the blob. %s", got.Len(), err, tt.hint)
			case got.Len() > len(blob):
				t.Errorf("passed on %d bytes of %d. %s", got.Len(), len(blob), tt.hint)
			}
		})
	}
}
