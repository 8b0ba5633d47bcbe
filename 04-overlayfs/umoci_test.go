//go:build linux

package overlayfs

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"testing"

	"drydock.example/01-chroot/hosttest"
	"github.com/opencontainers/go-digest"
)

// TestUmociReadsOurLayers gives umoci an image of two layers made by Diff, the
// second of changes in a container, and compares its root with the container's.
func TestUmociReadsOurLayers(t *testing.T) {
	hosttest.Require(t, hosttest.Program("umoci"))
	dir := scratch(t)
	d := mkdirs(t, dir, "base", "upper", "work", "merged", "oci/blobs/sha256")
	r := rand.New(rand.NewPCG(7, 7))
	randomTree(t, d[0], r, 120)
	mounted(t, d[3], d[:1], d[1], d[2], false)
	randomChanges(t, d[3], r, 40)

	blob := func(content []byte) map[string]any {
		id := digest.FromBytes(content)
		write(t, d[4]+"/"+id.Encoded(), string(content))
		return map[string]any{"digest": id, "size": len(content)}
	}
	document := func(mediaType string, v any) map[string]any {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		descriptor := blob(b)
		descriptor["mediaType"] = mediaType
		return descriptor
	}
	var layers, diffIDs []any
	for _, upper := range d[:2] {
		layer := blob(diff(t, upper))
		layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar"
		layers, diffIDs = append(layers, layer), append(diffIDs, layer["digest"])
	}
	config := document("application/vnd.oci.image.config.v1+json", map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	manifest := document("application/vnd.oci.image.manifest.v1+json", map[string]any{"schemaVersion": 2, "config": config, "layers": layers})
	manifest["annotations"] = map[string]string{"org.opencontainers.image.ref.name": "test"}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{manifest}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/oci/index.json", string(index))
	write(t, dir+"/oci/oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
	if out, err := exec.Command("umoci", "unpack", "--image", dir+"/oci:test", dir+"/bundle").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want, got := describe(t, d[3]), describe(t, dir+"/bundle/rootfs")
	for _, tree := range []map[string]string{want, got} {
		for name, line := range tree {
			// umoci 0.4 changes a directory's time when it removes a file there.
			tree[name] = regexp.MustCompile(`^(mode=4\d+ .*)mtime=\S+`).ReplaceAllString(line, "$1")
		}
	}
	if diff := differences(want, got); diff != "" {
		t.Errorf("umoci's root differs from the container's:\n%s", diff)
	}
}

// TestLayersOfUmoci goes the other way: what umoci makes of a changed tree.
func TestLayersOfUmoci(t *testing.T) {
	hosttest.Require(t, hosttest.Program("umoci"))
	dir := scratch(t)
	umoci := func(args ...string) {
		t.Helper()
		cmd := exec.Command("umoci", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("umoci %q: %v: %s", args, err, out)
		}
	}
	umoci("init", "--layout", "oci")
	umoci("new", "--image", "oci:test")
	umoci("unpack", "--image", "oci:test", "bundle")
	r := rand.New(rand.NewPCG(8, 8))
	root := dir + "/bundle/rootfs"
	randomTree(t, root, r, 80)
	umoci("repack", "--refresh-bundle", "--image", "oci:test", "bundle")
	randomChanges(t, root, r, 30)
	umoci("repack", "--image", "oci:test", "bundle")

	var index, manifest struct {
		Manifests, Layers []struct{ Digest digest.Digest }
	}
	load := func(path string, v any) {
		t.Helper()
		if err := json.Unmarshal([]byte(read(t, path)), v); err != nil {
			t.Fatal(err)
		}
	}
	load(dir+"/oci/index.json", &index)
	load(dir+"/oci/blobs/sha256/"+index.Manifests[0].Digest.Encoded(), &manifest)
	s := openStore(t, dir)
	var diffIDs []digest.Digest
	for _, l := range manifest.Layers {
		cmd := exec.Command("gzip", "-dc", dir+"/oci/blobs/sha256/"+l.Digest.Encoded())
		tar, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		diffID, _, err := s.Import(t.Context(), bytes.NewReader(tar))
		if err != nil {
			t.Fatal(err)
		}
		diffIDs = append(diffIDs, diffID)
	}
	lower, err := s.Lower(diffIDs)
	if err != nil {
		t.Fatal(err)
	}
	m := mkdirs(t, dir, "m")[0]
	mounted(t, m, lower, "", "", true)
	want, got := describe(t, root), describe(t, m)
	for _, tree := range []map[string]string{want, got} {
		for name, line := range tree {
			// umoci 0.4 rounds times, and packs a new name of an old file as a file.
			tree[name] = regexp.MustCompile(`mtime=\S+| same-as=.*?( trusted|$)`).ReplaceAllString(line, "$1")
		}
	}
	if diff := differences(want, got); diff != "" {
		t.Errorf("the tree that umoci packed (first) and the merged view differ:\n%s", diff)
	}
}
