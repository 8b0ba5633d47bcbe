//go:build linux

package images

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// create makes an image of layers with one file each, given as name and content.
func create(t *testing.T, s *Store, name string, files ...[2]string) Image {
	t.Helper()
	var layers []io.Reader
	for _, f := range files {
		layers = append(layers, bytes.NewReader(tarOf(t, f[0], f[1])))
	}
	img, err := s.Create(t.Context(), name, ocispec.Image{}, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestCreate(t *testing.T) {
	s, dir := openStore(t)
	base, top := [2]string{"base", "b"}, [2]string{"top", "t"}
	img := create(t, s, "demo:1", base, top)
	if !slices.Equal(img.Tags, []string{"docker.io/library/demo:1"}) || img.Size != 2 {
		t.Errorf("tags %q, size %d", img.Tags, img.Size)
	}
	if p := img.Config.Platform; FormatPlatform(p) != FormatPlatform(HostPlatform()) {
		t.Errorf("platform %v", p)
	}
	if got, err := read(t, s, img, "top"); got != "t" {
		t.Errorf("top = %q, %v", got, err)
	}
	if again := create(t, s, "demo:2", base, top); again.ID != img.ID || len(again.Tags) != 2 {
		t.Errorf("the same input gave %s with %q, before %s", again.ID, again.Tags, img.ID)
	}
	wantComplete(t, s)

	reopened := openStoreFresh(t, s, dir)
	if got, err := reopened.Get("demo:2"); err != nil || got.ID != img.ID {
		t.Errorf("after reopening: %v, %v", got.ID, err)
	}
	all, err := reopened.List()
	if err != nil || len(all) != 1 {
		t.Errorf("List() = %v, %v; want one image with two names", all, err)
	}
}

func TestCreateFailsWhole(t *testing.T) {
	s, dir := openStore(t)
	broken := tarOf(t, "file", noise(10000))[:5000]
	_, err := s.Create(t.Context(), "demo:1", ocispec.Image{}, bytes.NewReader(broken))
	wantError(t, err, "create demo:1: layer 1: ")
	if _, err := s.Get("demo:1"); !errdefs.IsNotFound(err) {
		t.Errorf("Get = %v", err)
	}
	wantNoFiles(t, dir, "layers")
	_, err = s.Create(t.Context(), "demo@"+someDigest, ocispec.Image{})
	wantError(t, err, "named by a tag")
}

func TestGet(t *testing.T) {
	s, _ := openStore(t)
	img := create(t, s, "127.0.0.1:5000/demo:1", [2]string{"a", "1"})
	create(t, s, "other:1", [2]string{"b", "2"})
	for _, name := range []string{"127.0.0.1:5000/demo:1", img.ID.String(), img.ID.Encoded(), img.ID.Encoded()[:12], "sha256:" + img.ID.Encoded()[:7]} {
		if got, err := s.Get(name); err != nil || got.ID != img.ID {
			t.Errorf("Get(%q) = %s, %v", name, got.ID, err)
		}
	}
	for name, want := range map[string]string{
		"nosuch":                 "No such image: nosuch:latest",
		"demo:1":                 "No such image: demo:1",
		"sha256:" + noImage:      "No such image: sha256:" + noImage,
		noImage:                  "No such image: " + noImage,
		"127.0.0.1:5000/demo":    "No such image: 127.0.0.1:5000/demo:latest",
		"demo@sha256:" + noImage: "No such image: demo@sha256:" + noImage,
	} {
		_, err := s.Get(name)
		if !errdefs.IsNotFound(err) || err.Error() != want {
			t.Errorf("Get(%q) = %v, want NotFound %q", name, err, want)
		}
	}
	if _, err := s.Get("No Such"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("Get of no reference = %v", err)
	}
}

var noImage = strings.Repeat("0", 64)

func TestGetAmbiguous(t *testing.T) {
	s, _ := openStore(t)
	seen := make(map[byte]bool)
	for i := 0; ; i++ {
		img := create(t, s, fmt.Sprintf("demo:%d", i), [2]string{"n", fmt.Sprint(i)})
		first := img.ID.Encoded()[0]
		if seen[first] {
			_, err := s.Get("sha256:" + string(first))
			wantError(t, err, "is the beginning of several image IDs")
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("%v is not an InvalidArgument", err)
			}
			return
		}
		seen[first] = true
	}
}

func TestRemoveKeepsWhatOthersUse(t *testing.T) {
	s, dir := openStore(t)
	base := [2]string{"base", "b"}
	one := create(t, s, "one:1", base, [2]string{"one", "1"})
	two := create(t, s, "two:1", base, [2]string{"two", "2"})
	if err := s.Tag("one:1", "again:1"); err != nil {
		t.Fatal(err)
	}

	untagged, deleted, err := s.Remove(t.Context(), "one:1", false)
	if err != nil || len(deleted) != 0 || !slices.Equal(untagged, []string{"docker.io/library/one:1"}) {
		t.Fatalf("Remove of one of two names = %q, %v, %v", untagged, deleted, err)
	}
	_, deleted, err = s.Remove(t.Context(), "again:1", false)
	if err != nil {
		t.Fatal(err)
	}
	if want := []digest.Digest{one.ID, one.DiffIDs[1]}; !slices.Equal(deleted, want) {
		t.Errorf("deleted %v, want the image and its own layer %v", deleted, want)
	}
	wantComplete(t, s)
	if got, err := read(t, s, two, "base"); got != "b" {
		t.Errorf("the other image's base = %q, %v", got, err)
	}
	if _, _, err := s.Remove(t.Context(), two.ID.Encoded()[:12], false); err != nil {
		t.Fatal(err)
	}
	wantNothing(t, s, dir)
	if _, _, err := s.Remove(t.Context(), "two:1", false); !errdefs.IsNotFound(err) {
		t.Errorf("Remove of what is gone = %v", err)
	}
}

func TestRemoveByIDOfSeveralRepositoriesWantsForce(t *testing.T) {
	s, dir := openStore(t)
	img := create(t, s, "one:1", [2]string{"a", "1"})
	if err := s.Tag("one:1", "two:1"); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.Remove(t.Context(), img.ID.String(), false)
	wantError(t, err, "conflict: unable to delete "+img.ID.Encoded()[:12]+" (must be forced) - image is referenced in multiple repositories")
	if !errdefs.IsFailedPrecondition(err) && !errdefs.IsConflict(err) {
		t.Errorf("%v is no conflict", err)
	}
	untagged, _, err := s.Remove(t.Context(), img.ID.String(), true)
	if err != nil || len(untagged) != 2 {
		t.Errorf("forced: %q, %v", untagged, err)
	}
	wantNothing(t, s, dir)
}

func TestHeldLayersStay(t *testing.T) {
	s, dir := openStore(t)
	img := create(t, s, "demo:1", [2]string{"a", "1"})
	release := s.Hold(img)
	if _, _, err := s.Remove(t.Context(), "demo:1", false); err != nil {
		t.Fatal(err)
	}
	if !s.layers.Has(img.DiffIDs[0]) {
		t.Fatal("a layer that is held was removed")
	}
	release()
	release() // once more does no harm
	// The next removal takes it along.
	create(t, s, "other:1", [2]string{"b", "2"})
	if _, _, err := s.Remove(t.Context(), "other:1", false); err != nil {
		t.Fatal(err)
	}
	wantNothing(t, s, dir)
}
