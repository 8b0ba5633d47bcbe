//go:build linux

package images

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var (
	someDigest   = digest.FromString("x").String()
	goodManifest = `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `",
		"config":{"mediaType":"` + ocispec.MediaTypeImageConfig + `","digest":"` + someDigest + `","size":10},
		"layers":[{"mediaType":"` + ocispec.MediaTypeImageLayerGzip + `","digest":"` + someDigest + `","size":10}]}`
	goodIndex  = `{"schemaVersion":2,"manifests":[{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":"` + someDigest + `","size":10,"platform":{"os":"linux","architecture":"amd64"}}]}`
	goodConfig = `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["` + someDigest + `"]}}`
)

func TestDocumentsThatAreRefused(t *testing.T) {
	tests := []struct{ name, raw, contentType, want string }{
		{"not JSON", `<html>`, "", "is not JSON of a manifest"},
		{"neither", `{"schemaVersion":2}`, "", "neither clearly a manifest nor clearly an index"},
		{"both", `{"schemaVersion":2,"manifests":[],"layers":[]}`, "", "neither clearly a manifest nor clearly an index"},
		{"two opinions", goodManifest, dockerManifest, "the registry says " + dockerManifest},
		{"index as manifest", goodIndex, ocispec.MediaTypeImageManifest, "does not have the fields of its media type"},
		{"schema 1", `{"schemaVersion":1,"fsLayers":[]}`, "", "schema version 1"},
		{"digest of another sort", strings.ReplaceAll(goodManifest, someDigest, "md5:d41d8cd98f00b204e9800998ecf8427e"), "", "unsupported digest algorithm"},
		{"digest that climbs", strings.ReplaceAll(goodManifest, someDigest, "sha256:../../../../etc/passwd"), "", "invalid checksum digest"},
		{"negative size", strings.ReplaceAll(goodManifest, `"size":10`, `"size":-1`), "", "size -1"},
		{"huge config", strings.Replace(goodManifest, `"size":10`, `"size":99999999`, 1), "", "a config of 99999999 bytes"},
		{"layer of Windows", strings.ReplaceAll(goodManifest, ocispec.MediaTypeImageLayerGzip, dockerForeignLayer+".gzip"), "", "is not in the registry"},
		{"layer of no known type", strings.ReplaceAll(goodManifest, ocispec.MediaTypeImageLayerGzip, "text/plain"), "", `unknown type "text/plain"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := newDocument([]byte(tt.raw), tt.contentType)
			if err == nil && doc.isIndex() {
				_, err = doc.index()
			} else if err == nil {
				_, err = doc.manifest()
			}
			wantError(t, err, tt.want)
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("%v is not an InvalidArgument", err)
			}
		})
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(goodManifest), ocispec.MediaTypeImageManifest)
	f.Add([]byte(goodIndex), "")
	f.Fuzz(func(t *testing.T, raw []byte, contentType string) {
		doc, err := newDocument(raw, contentType)
		if err != nil {
			return
		}
		if doc.isIndex() {
			manifests, err := doc.index()
			if err != nil {
				return
			}
			if chosen, err := choosePlatform(manifests, HostPlatform()); err == nil && checkDigest(chosen.Digest) != nil {
				t.Errorf("chose a manifest with the digest %q", chosen.Digest)
			}
			return
		}
		m, err := doc.manifest()
		if err != nil {
			return
		}
		for _, d := range append(m.Layers, m.Config) {
			if checkDigest(d.Digest) != nil || d.Size < 0 {
				t.Errorf("a manifest was taken with %+v", d)
			}
		}
	})
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(goodConfig), 1)
	f.Add([]byte(`{"rootfs":{"type":"layers","diff_ids":null}}`), 0)
	f.Fuzz(func(t *testing.T, raw []byte, layers int) {
		config, err := parseConfig(raw, layers)
		if err != nil {
			return
		}
		if len(config.RootFS.DiffIDs) != layers {
			t.Errorf("%d diff IDs, %d layers", len(config.RootFS.DiffIDs), layers)
		}
		for _, d := range config.RootFS.DiffIDs {
			if checkDigest(d) != nil {
				t.Errorf("diff ID %q", d)
			}
		}
		_ = checkPlatform("x", config, HostPlatform())
	})
}
