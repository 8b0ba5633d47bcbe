//go:build linux

package images

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestSaveAndLoad(t *testing.T) {
	from, _ := openStore(t)
	one := create(t, from, "demo:1", [2]string{"base", "b"}, [2]string{"top", "1"})
	two := create(t, from, "team/demo:2", [2]string{"base", "b"}, [2]string{"top", "2"})
	if err := from.Tag("demo:1", "demo:also"); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := from.Save(t.Context(), &archive, "demo:1", "team/demo:2", "demo:also"); err != nil {
		t.Fatal(err)
	}
	to, _ := openStore(t)
	loaded, err := to.Load(t.Context(), &archive, nil)
	if err != nil || len(loaded) != 2 {
		t.Fatalf("loaded %d images, %v; want 2", len(loaded), err)
	}
	if got := loaded[0]; got.ID != one.ID || got.Manifest != one.Manifest || !slices.Equal(got.Tags, []string{"docker.io/library/demo:1", "docker.io/library/demo:also"}) {
		t.Errorf("loaded %+v, want %+v", got, one)
	}
	if got := loaded[1]; got.ID != two.ID || got.Manifest != two.Manifest {
		t.Errorf("loaded %s, want %s", got.ID, two.ID)
	}
	wantComplete(t, to)
	if err := from.Save(t.Context(), io.Discard, "nobody"); err == nil {
		t.Error("saved what is not here")
	}
}

// Archives go to skopeo and come from it, in both formats.
func TestArchivesAndSkopeo(t *testing.T) {
	hosttest.Require(t, hosttest.Program("skopeo"))
	from, _ := openStore(t)
	img := create(t, from, "demo:1", [2]string{"base", "b"}, [2]string{"top", noise(100_000)})
	dir := t.TempDir()
	ours := filepath.Join(dir, "ours.tar")
	f, err := os.Create(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := from.Save(t.Context(), f, "demo:1"); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{"docker-archive:" + ours + ":demo:1", "oci-archive:" + ours} {
		for _, kind := range []string{"docker-archive", "oci-archive"} {
			theirs := filepath.Join(dir, kind+".tar")
			os.Remove(theirs)
			out, err := exec.Command("skopeo", "--insecure-policy", "copy", source, kind+":"+theirs+":docker.io/library/back:1").CombinedOutput()
			if err != nil {
				t.Fatalf("skopeo copy %s: %v\n%s", source, err, out)
			}
			to, _ := openStore(t)
			raw, err := os.Open(theirs)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			got, err := to.Load(t.Context(), raw, nil)
			if err != nil || len(got) != 1 {
				t.Fatalf("%s from %s: %v, %v", kind, source, got, err)
			}
			if !slices.Equal(got[0].DiffIDs, img.DiffIDs) || !slices.Equal(got[0].Tags, []string{"docker.io/library/back:1"}) {
				t.Errorf("%s from %s: %v %v, want the layers %v", kind, source, got[0].Tags, got[0].DiffIDs, img.DiffIDs)
			}
			wantComplete(t, to)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	hex := strings.Repeat("0", 64)
	config := `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:` + hex + `"]}}`
	for _, tt := range []struct {
		name  string
		files []string
		want  string
	}{
		{"nothing", nil, "neither a manifest.json nor an index.json"},
		{"a wrong blob", []string{"blobs/sha256/" + hex, "x"}, "blob does not match its digest"},
		{"a digest that is a path", []string{"blobs/sha256/../../../etc/passwd", "x", "manifest.json", `[{"Config":"../etc/passwd"}]`}, "invalid character 'x'"}, // it is the archive's x, not this machine's file
		{"a digest that is none", []string{"blobs/sha256/x", "x"}, "digest"},
		{"a path of this machine", []string{"manifest.json", `[{"Config":"/etc/passwd"}]`}, "the archive has no file /etc/passwd"},
		{"a layer that is not there", []string{"c.json", config, "manifest.json", `[{"Config":"c.json","Layers":["l/layer.tar"]}]`}, "the archive has no file l/layer.tar"},
		{"a config that is none", []string{"c.json", `{}`, "manifest.json", `[{"Config":"c.json"}]`}, "rootfs of type"},
		{"other diff IDs", []string{"c.json", config, "l.tar", string(tarOf(t, "a", "1")), "manifest.json", `[{"Config":"c.json","Layers":["l.tar"]}]`}, "digest"},
		{"an index of what is not there", []string{"index.json", `{"schemaVersion":2,"manifests":[{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":"sha256:` + hex + `","size":1}]}`}, "is not here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := openStore(t)
			_, err := s.Load(t.Context(), bytes.NewReader(tarOf(t, tt.files...)), nil)
			wantError(t, err, "load: ", tt.want)
			if all, err := s.List(); err != nil || len(all) != 0 {
				t.Errorf("the store has %v, %v", all, err)
			}
			if _, _, _, err := s.Prune(t.Context(), Dangling); err != nil {
				t.Fatal(err)
			}
			if n, err := s.Usage(); n != 0 || err != nil {
				t.Errorf("after a prune %d bytes are left, %v", n, err)
			}
		})
	}
	s, _ := openStore(t)
	_, err := s.Load(t.Context(), strings.NewReader("no tar at all, whatever it is"), nil)
	wantError(t, err, "load: ")
}

func TestImportAndExport(t *testing.T) {
	s, _ := openStore(t)
	img, err := s.Create(t.Context(), "demo:1", ocispec.Image{}, bytes.NewReader(tarOf(t, "etc/", "", "etc/gone", "x", "etc/motd", "old")),
		bytes.NewReader(tarOf(t, "etc/.wh.gone", "", "etc/motd", "new")))
	if err != nil {
		t.Fatal(err)
	}
	var flat bytes.Buffer
	if err := s.Export(t.Context(), "demo:1", &flat); err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for r := tar.NewReader(bytes.NewReader(flat.Bytes())); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.Trim(strings.TrimPrefix(h.Name, "./"), "/")] = string(b)
	}
	if _, there := files["etc/gone"]; there || files["etc/motd"] != "new" {
		t.Errorf("exported %q", files)
	}
	for _, e := range []int{0, 1} {
		var in io.Reader = bytes.NewReader(flat.Bytes())
		if e == 1 {
			in = bytes.NewReader(gzipped(t, flat.Bytes()))
		}
		back, err := s.Import(t.Context(), "flat:1", ocispec.Image{}, in)
		if err != nil || len(back.DiffIDs) != 1 || back.DiffIDs[0] != digest.FromBytes(flat.Bytes()) || back.ID == img.ID {
			t.Errorf("imported %+v, %v", back, err)
		}
		if got, err := read(t, s, back, "etc/motd"); got != "new" {
			t.Errorf("etc/motd = %q, %v", got, err)
		}
		if h, err := s.History(back); err != nil || len(h) != 1 || h[0].Comment != "Imported from -" || h[0].Size != 3 {
			t.Errorf("history %+v, %v", h, err)
		}
	}
}

func TestHistory(t *testing.T) {
	s, _ := openStore(t)
	config := ocispec.Image{History: []ocispec.History{{CreatedBy: "base"}, {CreatedBy: "ENV a=b", EmptyLayer: true}}}
	img, err := s.Create(t.Context(), "demo:1", config, bytes.NewReader(tarOf(t, "a", "1")), bytes.NewReader(tarOf(t, "b", "22")))
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.History(img)
	if err != nil || len(h) != 3 || h[0].Size != 2 || h[1].Size != 0 || h[1].CreatedBy != "ENV a=b" || h[2].Size != 1 {
		t.Errorf("history %+v, %v", h, err)
	}
}

func TestPrune(t *testing.T) {
	s, _ := openStore(t)
	old := create(t, s, "demo:1", [2]string{"base", "b"}, [2]string{"top", noise(1000)})
	held := create(t, s, "demo:1", [2]string{"base", "b"}, [2]string{"top", "held"})
	img := create(t, s, "demo:1", [2]string{"base", "b"}, [2]string{"top", "new"})
	release := s.Hold(held)
	before, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	_, deleted, freed, err := s.Prune(t.Context(), Dangling)
	if err != nil || !slices.Contains(deleted, old.ID) || slices.Contains(deleted, held.ID) || !slices.Contains(deleted, old.DiffIDs[1]) {
		t.Errorf("deleted %v, %v", deleted, err)
	}
	if after, err := s.Usage(); err != nil || freed != before-after || freed < 1000 {
		t.Errorf("freed %d, %d → %d, %v", freed, before, after, err)
	}
	release()
	untagged, deleted, _, err := s.Prune(t.Context(), func(Image) bool { return true })
	if err != nil || !slices.Contains(deleted, held.ID) || !slices.Contains(deleted, img.ID) || !slices.Contains(untagged, "docker.io/library/demo:1") {
		t.Errorf("untagged %v, deleted %v, %v", untagged, deleted, err)
	}
	if n, err := s.Usage(); n != 0 || err != nil {
		t.Errorf("%d bytes are left, %v", n, err)
	}
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
