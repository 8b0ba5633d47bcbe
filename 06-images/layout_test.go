//go:build linux

package images

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

func TestLayout(t *testing.T) {
	from, _ := openStore(t)
	dir := filepath.Join(t.TempDir(), "layout")
	base := [2]string{"base", "b"}
	one := create(t, from, "demo:1", base, [2]string{"top", "1"})
	two := create(t, from, "demo:2", base, [2]string{"top", "2"})
	for _, name := range []string{"demo:1", "demo:2", "demo:2"} { // an image is added, and the same one again
		if err := from.SaveLayout(t.Context(), dir, name); err != nil {
			t.Fatal(err)
		}
	}
	create(t, from, "demo:1", base, [2]string{"top", "3"})
	if err := from.SaveLayout(t.Context(), dir, "demo:1"); err != nil { // and one takes another's place
		t.Fatal(err)
	}
	blobs, err := os.ReadDir(filepath.Join(dir, "blobs/sha256"))
	if err != nil || len(blobs) != 3+3+4 {
		t.Errorf("%d blobs, %v; want 3 manifests, 3 configs, and 4 layers of which one is shared", len(blobs), err)
	}
	to, _ := openStore(t)
	loaded, err := to.LoadLayout(t.Context(), dir, "", nil)
	if err != nil || len(loaded) != 2 {
		t.Fatalf("loaded %d images, %v; want 2", len(loaded), err)
	}
	wantComplete(t, to)
	if got, err := to.Get("demo:2"); err != nil || got.ID != two.ID || got.Manifest != two.Manifest {
		t.Errorf("demo:2 is %s, %v; want %s", got.ID, err, two.ID)
	}
	if got, err := to.Get("demo:1"); err != nil || got.ID == one.ID {
		t.Errorf("demo:1 is %s, %v; want the newer one", got.ID, err)
	}
}

// layout writes an image layout by hand: files as name and content in turn.
func layout(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	files = append([]string{ocispec.ImageLayoutFile, `{"imageLayoutVersion":"1.0.0"}`}, files...)
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// indexOf writes an index of documents, and returns it with their files.
func indexOf(t *testing.T, mediaType string, docs ...string) (index string, files []string) {
	t.Helper()
	i := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	host := HostPlatform()
	for _, doc := range docs {
		d := digest.FromString(doc)
		i.Manifests = append(i.Manifests, ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(doc)), Platform: &host})
		files = append(files, blobPath(d), doc)
	}
	raw, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw), files
}

func TestLoadLayoutNestedIndex(t *testing.T) {
	from, _ := openStore(t)
	img := create(t, from, "demo:1", [2]string{"a", "1"})
	dir := t.TempDir()
	if err := from.SaveLayout(t.Context(), dir, "demo:1"); err != nil {
		t.Fatal(err)
	}
	raw, err := from.Content().Bytes(img.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	doc, mediaType := string(raw), ocispec.MediaTypeImageManifest
	for depth := range maxIndexDepth + 2 {
		index, files := indexOf(t, mediaType, doc)
		nested := layout(t, append(files, ocispec.ImageIndexFile, index)...)
		if err := os.CopyFS(dir+"/blobs", os.DirFS(nested+"/blobs")); err != nil && depth > 0 { // depth 0: the manifest is there
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, ocispec.ImageIndexFile), []byte(index), 0o644); err != nil {
			t.Fatal(err)
		}
		to, _ := openStore(t)
		loaded, err := to.LoadLayout(t.Context(), dir, "", nil)
		if depth > maxIndexDepth {
			wantError(t, err, "indexes within each other")
		} else if err != nil || len(loaded) != 1 || loaded[0].ID != img.ID {
			t.Errorf("%d indexes: %v, %v", depth, loaded, err)
		}
		doc, mediaType = index, ocispec.MediaTypeImageIndex
	}
}

func TestLoadLayoutRefuses(t *testing.T) {
	index, files := indexOf(t, ocispec.MediaTypeImageManifest, goodManifest)
	manifest := files[0]
	for _, tt := range []struct {
		name   string
		files  []string
		change func(dir string) error
		want   string
	}{
		{"no layout", nil, func(dir string) error { return os.Remove(filepath.Join(dir, ocispec.ImageLayoutFile)) }, "has no oci-layout"},
		{"no index", nil, nil, "has no index.json"},
		{"an index that is none", []string{"index.json", "{}"}, nil, "neither clearly a manifest nor clearly an index"},
		{"a blob that is missing", []string{"index.json", index}, nil, "the layout lacks the blob " + digest.FromString(goodManifest).String()},
		{"a blob of another size", []string{"index.json", index, manifest, "short"}, nil, "bytes, the layout has 5"},
		{"a blob that is another", []string{"index.json", index, manifest, strings.Repeat("x", len(goodManifest))}, nil, "blob does not match its digest"},
		{"a digest that climbs", []string{"index.json", strings.ReplaceAll(index, digest.FromString(goodManifest).Encoded(), "../../../../etc/shadow")}, nil, "invalid checksum digest"},
		{"a blob that is elsewhere", []string{"index.json", index, manifest, "x"}, func(dir string) error {
			return replace(filepath.Join(dir, manifest), func(path string) error { return os.Symlink("/etc/shadow", path) })
		}, "path escapes from parent"},
		{"an index that is elsewhere", []string{"index.json", "x"}, func(dir string) error {
			return replace(filepath.Join(dir, "index.json"), func(path string) error { return os.Symlink("../../../../../../../../etc/shadow", path) })
		}, "path escapes from parent"},
		{"an index that nobody writes", []string{"index.json", "x"}, func(dir string) error {
			return replace(filepath.Join(dir, "index.json"), func(path string) error { return unix.Mkfifo(path, 0o644) })
		}, "is no regular file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, storeDir := openStore(t)
			dir := layout(t, tt.files...)
			if tt.change != nil {
				if err := tt.change(dir); err != nil {
					t.Fatal(err)
				}
			}
			_, err := s.LoadLayout(t.Context(), dir, "", nil)
			wantError(t, err, "load: ", tt.want)
			wantNothing(t, s, storeDir)
		})
	}
	s, _ := openStore(t)
	if _, err := s.LoadLayout(t.Context(), "/nonexistent", "", nil); err == nil {
		t.Error("loaded what is not there")
	}
	if err := s.SaveLayout(t.Context(), t.TempDir(), "nobody"); !errdefs.IsNotFound(err) {
		t.Errorf("saved what is not here: %v", err)
	}
}

// replace puts something else in a file's place.
func replace(path string, with func(string) error) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return with(path)
}

func TestNamesInAnIndex(t *testing.T) {
	for _, tt := range []struct{ whole, ref, repository, want string }{
		{"", "", "r", ""},
		{"", "1", "", ""},
		{"", "1", "demo", "demo:1"},
		{"", "demo:1", "", "demo:1"},
		{"docker.io/library/demo:1", "1", "other", "docker.io/library/demo:1"},
		{"docker.io/library/demo:1", "2", "", "docker.io/library/demo:2"},
		{"docker.io/library/demo:1", "", "", "docker.io/library/demo:1"},
		{"No Name", "1", "", "No Name"}, // add refuses it by name
	} {
		l := loading{repository: tt.repository}
		got := l.names(ocispec.Descriptor{Annotations: map[string]string{annotationName: tt.whole, ocispec.AnnotationRefName: tt.ref}})
		if want := strings.Fields(tt.want); !slices.Equal(got, want) && (len(got) != 1 || got[0] != tt.want) {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

// FuzzLoad reads archives whose tables of contents, config and file name are a
// stranger's: an image that is taken is complete. The bytes of the tar itself
// are the business of archive/tar.
func FuzzLoad(f *testing.F) {
	config := goodConfig[:strings.Index(goodConfig, "[")] + "[]}}"
	f.Add("c.json", config, `[{"Config":"c.json","RepoTags":["a:1"],"Layers":[]}]`, "")
	f.Add("../c.json", config, `[{"Config":"/etc/passwd","RepoTags":[""],"Layers":["../c.json"]}]`, goodIndex)
	f.Add(blobPath(digest.FromString(goodManifest)), goodManifest, "",
		strings.Replace(goodIndex, someDigest, digest.FromString(goodManifest).String(), 1))
	f.Fuzz(func(t *testing.T, name, content, docker, index string) {
		files := []string{name, content}
		if docker != "" {
			files = append(files, "manifest.json", docker)
		}
		if index != "" {
			files = append(files, ocispec.ImageIndexFile, index)
		}
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		for i := 0; i < len(files); i += 2 {
			if w.WriteHeader(&tar.Header{Name: files[i], Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[i+1]))}) != nil {
				return // no name that a tar can have
			}
			io.WriteString(w, files[i+1])
		}
		w.Close()
		s, _ := openStore(t)
		_, _ = s.Load(t.Context(), &archive, nil)
		wantComplete(t, s)
	})
}

// FuzzLayout puts the bytes in the place of a layout's index.
func FuzzLayout(f *testing.F) {
	f.Add([]byte(goodIndex))
	f.Add([]byte(`{"schemaVersion":2,"manifests":[]}`))
	f.Fuzz(func(t *testing.T, index []byte) {
		s, _ := openStore(t)
		dir := layout(t, ocispec.ImageIndexFile, string(index), blobPath(digest.FromString("x")), "x")
		_, _ = s.LoadLayout(t.Context(), dir, "r", nil)
		wantComplete(t, s)
	})
}
