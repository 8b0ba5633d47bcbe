//go:build linux

package overlayfs

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// output runs a program in dir and returns what it prints to its output.
func output(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v: %s%s", args, err, out, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// stacked applies layers, some compressed, the base first, and mounts them.
func stacked(t *testing.T, dir string, layers ...string) string {
	t.Helper()
	s := openStore(t, dir)
	var diffIDs []digest.Digest
	for _, layer := range layers {
		f, err := os.Open(layer)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var plain io.Reader = f
		if z, err := gzip.NewReader(f); err == nil {
			plain = z
		} else if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		diffID, _, err := s.Import(t.Context(), plain)
		if err != nil {
			t.Fatal(err)
		}
		diffIDs = append(diffIDs, diffID)
	}
	lower, err := s.Lower(diffIDs)
	if err != nil {
		t.Fatal(err)
	}
	m := mkdirs(t, dir, "view")[0]
	mounted(t, m, lower, "", "", true)
	return m
}

// ociLayers returns the files of the layers of the only image in a layout.
func ociLayers(t *testing.T, layout string) []string {
	t.Helper()
	var index, manifest struct {
		Manifests, Layers []struct{ Digest digest.Digest }
	}
	load := func(path string, v any) {
		t.Helper()
		if err := json.Unmarshal([]byte(read(t, path)), v); err != nil {
			t.Fatal(err)
		}
	}
	load(layout+"/index.json", &index)
	blobs := layout + "/blobs/sha256/"
	load(blobs+index.Manifests[0].Digest.Encoded(), &manifest)
	var layers []string
	for _, l := range manifest.Layers {
		layers = append(layers, blobs+l.Digest.Encoded())
	}
	return layers
}

// dockerd starts Docker's daemon with everything of its own, and returns the
// client's first words.
func dockerd(t *testing.T) []string {
	t.Helper()
	hosttest.Require(t, hosttest.Root, hosttest.Overlay, hosttest.Program("docker"), hosttest.Program("dockerd"))
	dir := t.TempDir()
	socket := "unix://" + dir + "/docker.sock"
	var log bytes.Buffer
	cmd := exec.Command("dockerd", "--data-root", dir+"/data", "--exec-root", dir+"/exec", "-p", dir+"/pid", "-H", socket,
		"--bridge=none", "--iptables=false", "--storage-driver=overlay2")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait() // its status says no more than the log
		for _, path := range []string{"/exec/netns/default", "/data/overlay2", "/data"} {
			_ = unix.Unmount(dir+path, unix.MNT_DETACH)
		}
		left, _ := filepath.Glob("/sys/fs/cgroup/*/docker")
		for _, path := range append(left, "/sys/fs/cgroup/docker") {
			_ = unix.Rmdir(path)
		}
	})
	docker := []string{"docker", "-H", socket}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for exec.Command(docker[0], append(docker[1:], "version")...).Run() != nil {
		// The socket appears when the daemon listens, and answers soon after.
		select {
		case <-ctx.Done():
			t.Fatalf("dockerd does not answer:\n%s", &log)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return docker
}

// TestLayersOfDocker applies what `docker commit` makes of a container, as
// `docker save` writes it, and compares with what `docker export` shows of it.
func TestLayersOfDocker(t *testing.T) {
	t.Parallel()
	docker := dockerd(t)
	dir := scratch(t)
	base := mkdirs(t, dir, "base")[0]
	r := rand.New(rand.NewPCG(11, 11))
	randomTree(t, mkdirs(t, base, "data")[0], r, 60)
	write(t, dir+"/base.tar", string(diff(t, base)))
	run := func(args ...string) string { t.Helper(); return output(t, dir, append(docker, args...)...) }
	run("import", dir+"/base.tar", "base")
	run("create", "--name", "changed", "--network=none", "base", "/bin/sh")
	// Its changes, without a running program: by way of the mount that Docker
	// would make for it.
	var stack struct{ LowerDir, UpperDir, WorkDir string }
	if err := json.Unmarshal([]byte(run("inspect", "--format", "{{json .GraphDriver.Data}}", "changed")), &stack); err != nil {
		t.Fatal(err)
	}
	m := mkdirs(t, dir, "m")[0]
	if err := Mount(t.Context(), m, strings.Split(stack.LowerDir, ":"), stack.UpperDir, stack.WorkDir, false); err != nil {
		t.Fatal(err)
	}
	randomChanges(t, m+"/data", r, 40)
	if err := Unmount(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	run("commit", "changed", "image")
	run("save", "-o", dir+"/saved.tar", "image")
	run("export", "-o", dir+"/exported.tar", "changed")

	saved := mkdirs(t, dir, "saved")[0]
	output(t, saved, "tar", "-xf", dir+"/saved.tar")
	var manifest []struct{ Layers []string }
	if err := json.Unmarshal([]byte(read(t, saved+"/manifest.json")), &manifest); err != nil {
		t.Fatal(err)
	}
	var layers []string
	for _, l := range manifest[0].Layers {
		layers = append(layers, saved+"/"+l)
	}
	if len(layers) != 2 {
		t.Fatalf("layers %q: want the base and the commit", layers)
	}
	exported := mkdirs(t, dir, "exported")[0]
	if _, err := Unpack(t.Context(), exported, strings.NewReader(read(t, dir+"/exported.tar"))); err != nil {
		t.Fatal(err)
	}
	want, got := below(describe(t, exported), "data"), below(describe(t, stacked(t, dir, layers...)), "data")
	withoutXattrs(want) // of which an export knows nothing
	withoutXattrs(got)
	if diff := differences(want, got); diff != "" || len(got) < 30 {
		t.Errorf("what Docker exports (first) and its image here differ:\n%s", diff)
	}
}

// below returns the part of a described tree that is in the directory dir.
func below(tree map[string]string, dir string) map[string]string {
	part := make(map[string]string)
	for name, line := range tree {
		if strings.HasPrefix(name, dir+"/") {
			// docker 20.10 rounds times where it does not need a record for another reason.
			part[name] = regexp.MustCompile(`mtime=(\d+)\.\d+`).ReplaceAllString(line, "mtime=$1")
		}
	}
	return part
}

// TestLayersOfBuildah applies an image of three layers that buildah has made,
// with a program that ran in chroot isolation, and compares with what buildah
// itself mounts.
func TestLayersOfBuildah(t *testing.T) {
	hosttest.Require(t, hosttest.Program("buildah"))
	_, dir, base := stack(t)
	r := rand.New(rand.NewPCG(12, 12))
	randomTree(t, mkdirs(t, base, "data")[0], r, 60)
	write(t, base+"/etc/removed", "")
	mkdirs(t, base, "opaque/old")
	t.Cleanup(func() { _ = unix.Unmount(dir+"/store/overlay", unix.MNT_DETACH) })
	buildah := func(args ...string) string {
		t.Helper()
		return output(t, dir, append([]string{"buildah", "--root", dir + "/store", "--runroot", dir + "/run", "--storage-driver", "overlay"}, args...)...)
	}
	from := func(image string) string { return buildah("from", "--pull-never", "--isolation", "chroot", image) }
	first := from("scratch")
	buildah("copy", first, base, "/")
	buildah("commit", first, "localhost/one")
	second := from("localhost/one")
	buildah("run", "--isolation", "chroot", second, "--", "/bin/sh", "-c", "echo changed > /etc/motd; echo new > /data/new")
	root := buildah("mount", second)
	if err := errors.Join(os.Remove(root+"/etc/removed"), os.RemoveAll(root+"/opaque")); err != nil {
		t.Fatal(err)
	}
	write(t, mkdirs(t, root, "opaque")[0]+"/new", "")
	randomChanges(t, root+"/data", r, 20)
	buildah("commit", second, "oci:"+dir+"/oci:test")
	want := describe(t, root)
	buildah("umount", "--all")

	layers := ociLayers(t, dir+"/oci")
	if len(layers) < 2 {
		t.Fatalf("layers %q", layers)
	}
	got := describe(t, stacked(t, dir, layers...))
	for _, name := range []string{"etc/removed", "opaque/old"} {
		if got[name] != "" {
			t.Errorf("%s is there, which the upper layer has removed", name)
		}
	}
	if diff := differences(below(want, "data"), below(got, "data")); diff != "" || got["opaque/new"] == "" || got["etc/motd"] == "" {
		t.Errorf("what buildah mounts (first) and its image here differ:\n%s", diff)
	}
}

// TestSkopeoReadsOurLayers: skopeo takes an image of our layers apart, checks
// each digest and each diff ID, and writes it as Docker's archive; the layers in
// there are ours, byte by byte.
func TestSkopeoReadsOurLayers(t *testing.T) {
	hosttest.Require(t, hosttest.Program("skopeo"))
	dir := scratch(t)
	d := mkdirs(t, dir, "base", "upper", "work", "merged", "tmp")
	r := rand.New(rand.NewPCG(13, 13))
	randomTree(t, d[0], r, 100)
	mounted(t, d[3], d[:1], d[1], d[2], false)
	randomChanges(t, d[3], r, 40)
	layers := [][]byte{diff(t, d[0]), diff(t, d[1])}
	image := writeLayout(t, dir, layers...)
	t.Setenv("TMPDIR", d[4])
	output(t, dir, "skopeo", "--insecure-policy", "copy", "oci:"+image.dir+":test", "docker-archive:"+dir+"/image.tar:ours:test")
	found := make(map[digest.Digest]bool)
	archive := tar.NewReader(strings.NewReader(read(t, dir+"/image.tar")))
	for {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg && strings.HasSuffix(h.Name, ".tar") {
			id, err := digest.FromReader(archive)
			if err != nil {
				t.Fatal(err)
			}
			found[id] = true
		}
	}
	for i, id := range image.diffIDs {
		if !found[id] {
			t.Errorf("layer %d, %s, is not in what skopeo has written: %v", i, id, found)
		}
	}
}
