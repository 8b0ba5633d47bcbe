//go:build linux

package overlayfs

import (
	"math/rand/v2"
	"os/exec"
	"regexp"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

// TestUmociReadsOurLayers gives umoci an image of two layers made by Diff, the
// second of changes in a container, and compares its root with the container's.
func TestUmociReadsOurLayers(t *testing.T) {
	hosttest.Require(t, hosttest.Program("umoci"))
	dir := scratch(t)
	d := mkdirs(t, dir, "base", "upper", "work", "merged")
	r := rand.New(rand.NewPCG(7, 7))
	randomTree(t, d[0], r, 120)
	mounted(t, d[3], d[:1], d[1], d[2], false)
	randomChanges(t, d[3], r, 40)

	image := writeLayout(t, dir, diff(t, d[0]), diff(t, d[1]))
	if out, err := exec.Command("umoci", "unpack", "--image", image.dir+":test", dir+"/bundle").CombinedOutput(); err != nil {
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

	m := stacked(t, dir, ociLayers(t, dir+"/oci")...)
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
