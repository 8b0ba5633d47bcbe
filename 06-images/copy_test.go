//go:build linux

package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// putIndex uploads an index with an image of one layer for each platform.
func (r *testRegistry) putIndex(repository, tag string, platforms map[string]layer) ocispec.Descriptor {
	r.t.Helper()
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Annotations: map[string]string{"made.by": "hand"},
	}
	for _, platform := range slices.Sorted(maps.Keys(platforms)) {
		p, _ := ParsePlatform(platform)
		desc := r.putConfig(repository, "", configFor(platform, platforms[platform]), platforms[platform])
		desc.Platform = &p
		index.Manifests = append(index.Manifests, desc)
	}
	return r.putManifest(repository, tag, index.MediaType, index)
}

// repository connects to a repository of the registry.
func (r *testRegistry) repository(path string) *Repository {
	r.t.Helper()
	ref, err := ParseReference(r.host + "/" + path)
	if err != nil {
		r.t.Fatal(err)
	}
	repo, err := Connect(r.t.Context(), ref, ConnectOptions{Push: true})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(repo.Close)
	return repo
}

func TestCopy(t *testing.T) {
	t.Parallel()
	from, to := newRegistry(t), newRegistry(t)
	platforms := map[string]layer{
		"linux/amd64": gzipLayer(t, "a", noise(300_000)), "linux/arm64": zstdLayer(t, "a", noise(200_000)), "linux/arm/v7": plainLayer(t, "a", "small"),
	}
	top := from.putIndex("multi", "1", platforms)
	copyTo := func(dst string, opt CopyOptions) (*statuses, digest.Digest) {
		t.Helper()
		var seen statuses
		opt.Progress = seen.add
		d, err := Copy(t.Context(), from.host+"/multi:1", dst, opt)
		if err != nil {
			t.Fatal(err)
		}
		return &seen, d
	}
	seen, d := copyTo(to.host+"/team/multi:one", CopyOptions{})
	if d != top.Digest || !seen.has("", "one: digest: "+top.Digest.String()) {
		t.Errorf("copied %s, want %s, and said %v", d, top.Digest, seen.all)
	}
	for platform, l := range platforms {
		if n := from.fetched(l.digest()); n != 1 {
			t.Errorf("the layer for %s was fetched %d times", platform, n)
		}
		s, _ := openStore(t)
		p, _ := ParsePlatform(platform)
		img, err := s.Pull(t.Context(), to.host+"/team/multi:one", PullOptions{Platform: &p})
		if err != nil || img.DiffIDs[0] != l.diffID() {
			t.Errorf("%s from the copy: %v, %v", platform, img.DiffIDs, err)
		}
		wantComplete(t, s)
	}

	// What is there does not travel again; what the same registry has does not at all.
	amd64 := platforms["linux/amd64"]
	id := shortID(amd64.digest().String())
	if seen, _ := copyTo(to.host+"/team/multi:two", CopyOptions{}); !seen.has(id, "Layer already exists") || from.fetched(amd64.digest()) != 1 {
		t.Errorf("the second copy fetched the layer %d times and said %v", from.fetched(amd64.digest()), seen.all)
	}
	if seen, _ := copyTo(from.host+"/other", CopyOptions{}); !seen.has(id, "Mounted from multi") || from.fetched(amd64.digest()) != 1 {
		t.Errorf("the copy in one registry fetched the layer %d times and said %v", from.fetched(amd64.digest()), seen.all)
	}

	// One platform is a manifest and no index.
	arm, _ := ParsePlatform("linux/arm64")
	if _, d := copyTo(to.host+"/arm", CopyOptions{Platform: &arm}); d == top.Digest {
		t.Error("the whole index was copied")
	}
	desc, err := to.repository("arm").Descriptor(t.Context(), "latest")
	if err != nil || desc.MediaType != ocispec.MediaTypeImageManifest {
		t.Errorf("the copy of one platform is %s, %v", desc.MediaType, err)
	}
	if _, err := to.repository("arm").BlobSize(t.Context(), amd64.digest()); !errdefs.IsNotFound(err) {
		t.Errorf("the other platform's layer: %v, want NotFound", err)
	}
}

// The connections to the first registry are cut every 64 KiB: the second one
// gets whole blobs all the same, each in one upload.
func TestCopyFromARegistryThatCuts(t *testing.T) {
	t.Parallel()
	from, to := newRegistry(t), newRegistry(t)
	l := plainLayer(t, "big", noise(500_000))
	from.put("demo", "1", l)
	from.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if strings.HasSuffix(req.URL.Path, l.digest().String()) {
			w = &cutting{w, 64 << 10}
		}
		next.ServeHTTP(w, req)
	}
	if _, err := Copy(t.Context(), from.host+"/demo:1", to.host+"/demo:1", CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	if n, want := from.fetched(l.digest()), len(l.blob)>>16+1; n != want {
		t.Errorf("the layer came in %d pieces, want %d", n, want)
	}
	if n, err := to.repository("demo").BlobSize(t.Context(), l.digest()); err != nil || n != int64(len(l.blob)) {
		t.Errorf("the copy has %d bytes, %v; want %d", n, err, len(l.blob))
	}
}

func TestCopyRefuses(t *testing.T) {
	t.Parallel()
	from, to := newRegistry(t), newRegistry(t)
	l := gzipLayer(t, "a", noise(10_000))
	top := from.put("demo", "1", l)
	other := digest.FromString("other")
	nobody := httptest.NewServer(nil)
	nobody.Close()
	for _, tt := range []struct {
		src, dst string
		want     []string
	}{
		{from.host + "/nosuch", to.host + "/demo", []string{"manifest for " + from.host + "/nosuch:latest not found"}},
		{from.host + "/demo:1", to.host + "/demo@" + other.String(), []string{"its digest is " + top.Digest.String()}},
		{from.host + "/demo:1", strings.TrimPrefix(nobody.URL, "http://") + "/demo", []string{"push ", "connection refused"}},
		{"Demo", to.host + "/demo", []string{"must be lowercase"}},
	} {
		_, err := Copy(t.Context(), tt.src, tt.dst, CopyOptions{})
		wantError(t, err, tt.want...)
	}
	from.onBlob("/blobs/"+l.digest().String(), func(w http.ResponseWriter, body []byte) {
		body[100] ^= 1
		w.Write(body)
	})
	_, err := Copy(t.Context(), from.host+"/demo:1", to.host+"/demo:1", CopyOptions{})
	wantError(t, err, "copy "+from.host+"/demo:1", "blob "+l.digest().String())
	if _, err := to.repository("demo").Descriptor(t.Context(), "1"); !errdefs.IsNotFound(err) {
		t.Errorf("after a copy that failed its name is there: %v", err)
	}
}

// Distribution knows of no referrers: the list is kept under a tag, and comes
// along with the copy.
func TestArtifacts(t *testing.T) {
	t.Parallel()
	from, to := newRegistry(t), newRegistry(t)
	top := from.put("demo", "1", gzipLayer(t, "a", "1"))
	repo := from.repository("demo")
	dir := t.TempDir()
	files := map[string]string{"sbom.json": `{"packages": []}`, "signature": noise(100_000)}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const sbom, signature = "application/spdx+json", "application/x-signature"
	subject, err := repo.Descriptor(t.Context(), "1")
	if err != nil || subject.Digest != top.Digest {
		t.Fatal(subject, err)
	}
	first, err := repo.PushArtifact(t.Context(), "", Artifact{
		Type: sbom, Subject: &subject, Files: []string{filepath.Join(dir, "sbom.json")}, Annotations: map[string]string{"by": "ann"},
	})
	if err != nil {
		t.Fatal(err)
	}
	second, err := repo.PushArtifact(t.Context(), "signed", Artifact{Type: signature, Subject: &subject, Files: []string{filepath.Join(dir, "signature")}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Copy(t.Context(), from.host+"/demo:1", to.host+"/demo:2", CopyOptions{Referrers: true}); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*testRegistry{from, to} {
		repo := r.repository("demo")
		all, err := repo.Referrers(t.Context(), top.Digest, "")
		if err != nil || len(all) != 2 {
			t.Fatalf("referrers: %v, %v; want two", all, err)
		}
		some, err := repo.Referrers(t.Context(), top.Digest, sbom)
		if err != nil || len(some) != 1 || some[0].Digest != first.Digest || some[0].Annotations["by"] != "ann" {
			t.Errorf("of type %s: %v, %v", sbom, some, err)
		}
		out := t.TempDir()
		for _, desc := range []ocispec.Descriptor{first, second} {
			names, err := repo.FetchArtifact(t.Context(), desc.Digest.String(), out)
			if err != nil || len(names) != 1 {
				t.Fatal(names, err)
			}
			if got, err := os.ReadFile(filepath.Join(out, names[0])); err != nil || string(got) != files[names[0]] {
				t.Errorf("%s: %d bytes, %v", names[0], len(got), err)
			}
		}
		if _, err := repo.FetchArtifact(t.Context(), first.Digest.String(), out); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a second time: %v, want that the file exists", err)
		}
	}
	if none, err := repo.Referrers(t.Context(), digest.FromString("nobody"), ""); err != nil || len(none) != 0 {
		t.Errorf("referrers of nobody: %v, %v", none, err)
	}
}

// An artifact's author chooses the names of its files, and may mean ill.
func TestFetchArtifactStaysInItsDirectory(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	dir := t.TempDir()
	inside := filepath.Join(dir, "inside")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(dir, "outside")
	if err := os.Symlink(outside, filepath.Join(inside, "link")); err != nil {
		t.Fatal(err)
	}
	content := r.putBlob("demo", "text/plain", []byte("evil"))
	empty := r.putBlob("demo", ocispec.MediaTypeEmptyJSON, []byte("{}"))
	fetch := func(name string, content ocispec.Descriptor) error {
		content.Annotations = map[string]string{ocispec.AnnotationTitle: name}
		desc := r.putManifest("demo", "", ocispec.MediaTypeImageManifest, ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "text/plain",
			Config: empty, Layers: []ocispec.Descriptor{content},
		})
		_, err := r.repository("demo").FetchArtifact(t.Context(), desc.Digest.String(), inside)
		return err
	}
	for _, name := range []string{"../outside", "/outside", "..", ".", "a/b", "link"} {
		if err := fetch(name, content); err == nil {
			t.Errorf("a file called %q was written", name)
		}
	}
	wrong := []byte("EVIL")
	r.onBlob("/blobs/"+content.Digest.String(), func(w http.ResponseWriter, _ []byte) { w.Write(wrong) })
	wantError(t, fetch("wrong", content), "blob does not match its digest")
	if entries, err := os.ReadDir(inside); err != nil || len(entries) != 1 {
		t.Errorf("in the directory: %v, %v; want only the link", entries, err)
	}
	if _, err := os.Lstat(outside); err == nil {
		t.Error("a file was written outside")
	}
}

func TestReferrersComeInParts(t *testing.T) {
	t.Parallel()
	subject := digest.FromString("subject")
	desc := func(n int) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(fmt.Sprint(n)), Size: 1, ArtifactType: fmt.Sprintf("a/%d", n%2)}
	}
	link := func(n int) string { return fmt.Sprintf(`</v2/demo/referrers/%s?page=%d>; rel="next"`, subject, n+1) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		n := 0
		fmt.Sscan(req.URL.Query().Get("page"), &n)
		if n < 3 {
			w.Header().Set("Link", link(n))
		}
		if !strings.Contains(req.URL.Path, "/referrers/") {
			return
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		json.NewEncoder(w).Encode(ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{desc(n)},
		})
	}))
	defer server.Close()
	r := &testRegistry{t: t, host: strings.TrimPrefix(server.URL, "http://")}
	all, err := r.repository("demo").Referrers(t.Context(), subject, "a/1")
	if err != nil || len(all) != 2 || all[1].Digest != desc(3).Digest {
		t.Errorf("referrers of type a/1: %v, %v; want the second and the fourth", all, err)
	}
	// A registry whose list has no end, and one that sends us elsewhere for the rest.
	link = func(int) string { return fmt.Sprintf(`</v2/demo/referrers/%s>; rel="next"`, subject) }
	_, err = r.repository("demo").Referrers(t.Context(), subject, "")
	wantError(t, err, "more than 100 answers")
	link = func(int) string { return `<http://127.0.0.1:1/v2/demo/referrers/x>; rel="next"` }
	if all, err := r.repository("demo").Referrers(t.Context(), subject, ""); err != nil || len(all) != 1 {
		t.Errorf("%v, %v; want what the registry itself has", all, err)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	top := r.put("demo", "1", gzipLayer(t, "a", "1"))
	repo := r.repository("demo")
	if err := repo.Delete(t.Context(), top.Digest.String()); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Descriptor(t.Context(), "1"); !errdefs.IsNotFound(err) {
		t.Errorf("after its digest was deleted, the tag leads to: %v", err)
	}
	err := repo.Delete(t.Context(), top.Digest.String())
	wantError(t, err, "delete "+top.Digest.String(), "unknown")
	if !errdefs.IsNotFound(err) {
		t.Errorf("%v is not NotFound", err)
	}
}

// Debian's registry deletes nothing unless it is told to.
func TestDeleteIsNotAllowed(t *testing.T) {
	r := &testRegistry{t: t, host: dockerRegistry(t)}
	top := r.put("demo", "1", gzipLayer(t, "a", "1"))
	err := r.repository("demo").Delete(t.Context(), top.Digest.String())
	wantError(t, err, "the registry does not allow it", "unsupported")
}
