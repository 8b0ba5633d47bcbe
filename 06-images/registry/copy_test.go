//go:build linux

package registry

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"

	images "drydock.example/06-images"
)

// Our client between two of our registries: an image with what refers to it, and
// then without.
func TestOurClientCopies(t *testing.T) {
	from, to := newScene(t, Options{}), newScene(t, Options{})
	store := openStore(t)
	img := createImage(t, store, from.host()+"/team/demo:1", 300_000)
	if _, err := store.Push(t.Context(), from.host()+"/team/demo:1", images.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	connect := func(name string) *images.Repository {
		t.Helper()
		ref, err := images.ParseReference(name)
		if err != nil {
			t.Fatal(err)
		}
		repo, err := images.Connect(t.Context(), ref, images.ConnectOptions{Push: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(repo.Close)
		return repo
	}
	repo := connect(from.host() + "/team/demo")
	subject, err := repo.Descriptor(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	note := filepath.Join(t.TempDir(), "note")
	if err := os.WriteFile(note, []byte("it works here"), 0o600); err != nil {
		t.Fatal(err)
	}
	attached, err := repo.PushArtifact(t.Context(), "", images.Artifact{Type: "text/plain", Subject: &subject, Files: []string{note}})
	if err != nil {
		t.Fatal(err)
	}
	// The registry keeps the list: no tag stands in for it.
	from.do("GET", "/v2/team/demo/manifests/sha256-"+subject.Digest.Encoded(), nil).want(404)

	if d, err := images.Copy(t.Context(), from.host()+"/team/demo:1", to.host()+"/copy:2", images.CopyOptions{Referrers: true}); err != nil || d != img.Manifest {
		t.Fatalf("Copy = %s, %v; want %s", d, err, img.Manifest)
	}
	copied := connect(to.host() + "/copy")
	all, err := copied.Referrers(t.Context(), img.Manifest, "")
	if err != nil || len(all) != 1 || all[0].Digest != attached.Digest || all[0].ArtifactType != "text/plain" {
		t.Errorf("referrers of the copy: %+v, %v; want %s", all, err, attached.Digest)
	}
	if got, err := openStore(t).Pull(t.Context(), to.host()+"/copy:2", images.PullOptions{}); err != nil || got.ID != img.ID {
		t.Errorf("pulled %s, %v; want %s", got.ID, err, img.ID)
	}

	// A tag goes alone, a digest with all that lead to it.
	if err := copied.Delete(t.Context(), "2"); err != nil {
		t.Fatal(err)
	}
	if _, err := copied.Descriptor(t.Context(), img.Manifest.String()); err != nil {
		t.Errorf("the tag was deleted, and with it: %v", err)
	}
	if err := copied.Delete(t.Context(), img.Manifest.String()); err != nil {
		t.Fatal(err)
	}
	if _, err := copied.Descriptor(t.Context(), img.Manifest.String()); !errdefs.IsNotFound(err) {
		t.Errorf("after its deletion: %v", err)
	}
}
