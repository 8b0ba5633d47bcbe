//go:build linux

package images

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// members splits a tar into gzip members, one for each of the pieces.
func members(t testing.TB, level int, pieces ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, piece := range pieces {
		z, err := gzip.NewWriterLevel(&b, level)
		if err != nil {
			t.Fatal(err)
		}
		z.Write(piece)
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// estargzLayer is a layer in the manner of eStargz: a gzip member for each
// file, a table of contents as the last file, and a member of nothing at the end whose extra
// field says where the table is. Source: github.com/containerd/stargz-snapshotter, docs/estargz.md.
func estargzLayer(t testing.TB, name, content string) layer {
	t.Helper()
	file := func(name, content string) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, content)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	pieces := [][]byte{file(name, content), file("stargz.index.json", `{"version":1}`), make([]byte, 1024)}
	blob := members(t, gzip.BestSpeed, pieces...)
	var footer bytes.Buffer
	z, err := gzip.NewWriterLevel(&footer, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	z.Extra = append([]byte("SG\x16\x00"), fmt.Sprintf("%016xSTARGZ", len(members(t, gzip.BestSpeed, pieces[0])))...)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return layer{ocispec.MediaTypeImageLayerGzip, bytes.Join(pieces, nil), append(blob, footer.Bytes()...)}
}

// zstdChunkedLayer is a layer in the manner of zstd:chunked: a frame for each
// file, and a table of contents in frames that decompressors skip.
func zstdChunkedLayer(t testing.TB, files ...string) layer {
	t.Helper()
	plain := tarOf(t, files...)
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	half := len(plain) / 2
	blob := slices.Concat(z.EncodeAll(plain[:half], nil), z.EncodeAll(plain[half:], nil))
	for _, note := range []string{"the table", "the footer"} {
		blob = append(blob, "\x50\x2a\x4d\x18"...) // RFC 8878, section 3.1.2
		blob = binary.LittleEndian.AppendUint32(blob, uint32(len(note)))
		blob = append(blob, note...)
	}
	return layer{ocispec.MediaTypeImageLayerZstd, plain, blob}
}

// However a layer is compressed, and whatever its media type says of that.
func TestPullEveryCompression(t *testing.T) {
	t.Parallel()
	content := noise(1_000_000)
	mislabelled := gzipLayer(t, "f5", content)
	mislabelled.mediaType = ocispec.MediaTypeImageLayerZstd
	docker := gzipLayer(t, "f6", content)
	docker.mediaType = dockerLayer + ".gzip"
	stored := plainLayer(t, "f7", content)
	stored.blob = members(t, gzip.NoCompression, stored.tar)
	stored.mediaType = ocispec.MediaTypeImageLayerGzip
	layers := []layer{
		gzipLayer(t, "f0", content), zstdLayer(t, "f1", content), plainLayer(t, "f2", content), estargzLayer(t, "f3", content),
		zstdChunkedLayer(t, "f4", content), mislabelled, docker, stored, gzipLayer(t),
	}
	s, _ := openStore(t)
	r := newRegistry(t)
	r.put("demo", "1", layers...)
	img, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		if got, err := read(t, s, img, fmt.Sprintf("f%d", i)); err != nil || got != content {
			t.Errorf("the file of layer %d has %d bytes, %v; want %d", i, len(got), err, len(content))
		}
	}
	wantComplete(t, s)
}

func TestAnnotationsArrive(t *testing.T) {
	t.Parallel()
	s, dir := openStore(t)
	r := newRegistry(t)
	l := gzipLayer(t, "a", "1")
	raw, err := json.Marshal(configFor(FormatPlatform(HostPlatform()), l))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ocispec.AnnotationSource: "https://example.org/demo"}
	r.putManifest("demo", "1", ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Annotations: want,
		Config: r.putBlob("demo", ocispec.MediaTypeImageConfig, raw), Layers: []ocispec.Descriptor{r.putBlob("demo", l.mediaType, l.blob)},
	})
	if _, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	img, err := openStoreFresh(t, s, dir).Get(r.host + "/demo:1")
	if err != nil || !maps.Equal(img.Annotations, want) {
		t.Errorf("annotations %v, %v; want %v", img.Annotations, err, want)
	}
}

// A new version of an image that differs in its top layer costs that layer: what
// comes over the network is counted.
func TestPullOfAChangedTopCostsThatLayer(t *testing.T) {
	t.Parallel()
	s, _ := openStore(t)
	r := newRegistry(t)
	base := gzipLayer(t, "base", noise(3_000_000))
	first, second := gzipLayer(t, "app", "first"+noise(50_000)), gzipLayer(t, "app", "second"+noise(50_000))
	r.put("demo", "latest", base, first)
	var sent atomic.Int64
	r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		next.ServeHTTP(&counting{w, &sent}, req)
	}
	if _, err := s.Pull(t.Context(), r.host+"/demo", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if n, all := sent.Swap(0), int64(len(base.blob)+len(first.blob)); n < all || n > all+4096 {
		t.Errorf("the first pull took %d bytes for %d of layers", n, all)
	}
	r.put("demo", "latest", base, second)
	if _, err := s.Pull(t.Context(), r.host+"/demo", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if n, top := sent.Load(), int64(len(second.blob)); n < top || n > top+4096 {
		t.Errorf("the second pull took %d bytes, its new layer has %d", n, top)
	}
	wantComplete(t, s)
}

// counting counts what an answer's body has.
type counting struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}
