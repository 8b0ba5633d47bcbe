//go:build linux

package overlayfs

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
)

// layout is an OCI image layout with one image, called test.
type layout struct {
	dir     string
	blobs   []string
	diffIDs []digest.Digest
}

// writeLayout makes a layout of layers, compressed as images are.
func writeLayout(t testing.TB, scratch string, layers ...[]byte) *layout {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "oci")
	if err != nil {
		t.Fatal(err)
	}
	blobs := mkdirs(t, dir, "blobs/sha256")[0]
	l := &layout{dir: dir}
	blob := func(mediaType string, content []byte) map[string]any {
		id := digest.FromBytes(content)
		write(t, blobs+"/"+id.Encoded(), string(content))
		return map[string]any{"mediaType": mediaType, "digest": id, "size": len(content)}
	}
	document := func(mediaType string, v any) map[string]any {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return blob(mediaType, b)
	}
	var descriptors []any
	for _, layer := range layers {
		var compressed bytes.Buffer
		z := gzip.NewWriter(&compressed)
		if _, err := z.Write(layer); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		d := blob("application/vnd.oci.image.layer.v1.tar+gzip", compressed.Bytes())
		descriptors = append(descriptors, d)
		l.blobs = append(l.blobs, blobs+"/"+d["digest"].(digest.Digest).Encoded())
		l.diffIDs = append(l.diffIDs, digest.FromBytes(layer))
	}
	config := document("application/vnd.oci.image.config.v1+json", map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": l.diffIDs},
	})
	manifest := document("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": descriptors})
	manifest["annotations"] = map[string]string{"org.opencontainers.image.ref.name": "test"}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{manifest}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/index.json", string(index))
	write(t, dir+"/oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
	return l
}
