//go:build linux

package images

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// Each attack of the chapter is tried twice: on the few lines that anybody would
// write first, where it must succeed, and on the store.

// fetch is how one fetches a blob who trusts.
func (r *testRegistry) fetch(repository string, d digest.Digest) []byte {
	r.t.Helper()
	resp, err := http.Get(fmt.Sprintf("http://%s/v2/%s/blobs/%s", r.host, repository, d))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// A blob that is not what its digest says.
func TestAttackWrongBlob(t *testing.T) {
	s, dir := openStore(t)
	r := newRegistry(t)
	good, evil := plainLayer(t, "bin/login", "good"), plainLayer(t, "bin/login", "evil")
	r.put("demo", "1", good)
	r.onBlob("/blobs/"+good.digest().String(), func(w http.ResponseWriter, _ []byte) { w.Write(evil.blob) })

	if got := r.fetch("demo", good.digest()); !bytes.Contains(got, []byte("evil")) {
		t.Error("the attack does not work on those who trust")
	}
	_, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{})
	if !errdefs.IsDataLoss(err) {
		t.Errorf("%v; want DataLoss", err)
	}
	wantNothing(t, s, dir)
}

// A manifest that lies about sizes: who makes room for what it says is dead
// before the first byte.
func TestAttackLyingSizes(t *testing.T) {
	l := plainLayer(t, "a", "1")
	raw, err := json.Marshal(configFor(FormatPlatform(HostPlatform()), l))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name          string
		config, layer int64 // what is added to the sizes
	}{
		{"a config of 4 EiB", 1 << 62, 0},
		{"a layer of 4 EiB", 0, 1 << 62},
		{"a config that is larger", 1, 0},
		{"a config that is smaller", -1, 0},
		{"a layer that is larger", 0, 1},
		{"a layer that is smaller", 0, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, dir := openStore(t)
			r := newRegistry(t)
			m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
			m.Config = r.putBlob("demo", ocispec.MediaTypeImageConfig, raw)
			m.Layers = []ocispec.Descriptor{r.putBlob("demo", l.mediaType, l.blob)}
			m.Config.Size += tt.config
			m.Layers[0].Size += tt.layer
			lie, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) { // distribution would not take it
				if !strings.Contains(req.URL.Path, "/manifests/") {
					next.ServeHTTP(w, req)
					return
				}
				w.Header().Set("Content-Type", m.MediaType)
				w.Write(lie)
			}
			for _, desc := range []ocispec.Descriptor{m.Config, m.Layers[0]} {
				if died := makeRoom(desc.Size); died != (desc.Size >= 1<<62) {
					t.Errorf("who makes room for %d bytes: died %v", desc.Size, died)
				}
			}
			if _, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{}); !errdefs.IsDataLoss(err) && !errdefs.IsInvalidArgument(err) {
				t.Errorf("%v; want DataLoss or InvalidArgument", err)
			}
			wantNothing(t, s, dir)
		})
	}
}

// makeRoom allocates what a stranger asks for, and says whether that is the end.
func makeRoom(size int64) (died bool) {
	defer func() { died = recover() != nil }()
	_ = make([]byte, size)
	return false
}

// A config whose diff IDs do not match. Layers are found again by their diff IDs: an
// image that claims the one of a layer that everybody uses would put its own files
// below all images that come later.
func TestAttackClaimedDiffID(t *testing.T) {
	s, dir := openStore(t)
	r := newRegistry(t)
	good, evil := gzipLayer(t, "bin/login", "good"), gzipLayer(t, "bin/login", "evil")
	claim := configFor(FormatPlatform(HostPlatform()), evil)
	claim.RootFS.DiffIDs[0] = good.diffID()
	r.putConfig("evil", "1", claim, evil)
	r.put("good", "1", good)

	layers := make(map[digest.Digest][]byte) // the store of those who trust, by what configs say
	for _, pull := range []struct {
		repository string
		layer      layer
	}{{"evil", evil}, {"good", good}} {
		if layers[good.diffID()] == nil { // else it is here already
			layers[good.diffID()] = r.fetch(pull.repository, pull.layer.digest())
		}
	}
	if !bytes.Equal(layers[good.diffID()], evil.blob) {
		t.Error("the attack does not work on those who trust")
	}

	_, err := s.Pull(t.Context(), r.host+"/evil:1", PullOptions{})
	wantError(t, err, good.diffID().String(), evil.diffID().String())
	wantNothing(t, s, dir)
	img, err := s.Pull(t.Context(), r.host+"/good:1", PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, s, img, "bin/login"); got != "good" {
		t.Errorf("bin/login is %q, %v", got, err)
	}
	// Also when the layer is here already.
	_, err = s.Pull(t.Context(), r.host+"/evil:1", PullOptions{})
	wantError(t, err, evil.diffID().String())
	wantComplete(t, s)
}

// Path traversal in a loaded archive. Who unpacks it and opens what its table of
// contents names reads any file, and gives it away as part of an image.
func TestAttackTraversal(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("the secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The naive way: tar xf, and open.
	unpacked := filepath.Join(dir, "unpacked")
	if err := os.Mkdir(unpacked, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(unpacked, "link")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"../secret", "link"} {
		if b, err := os.ReadFile(filepath.Join(unpacked, path)); err != nil || string(b) != "the secret" {
			t.Errorf("the attack does not work on those who trust: %q, %v", b, err)
		}
	}

	for _, path := range []string{"../secret", "link", secret} {
		s, storeDir := openStore(t)
		files := tarOf(t, "manifest.json", `[{"Config":"`+path+`"}]`)
		var with bytes.Buffer
		w := tar.NewWriter(&with)
		if err := w.WriteHeader(&tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: secret}); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		with.Write(files)
		_, err := s.Load(t.Context(), &with, nil)
		wantError(t, err, "load: the archive has no file")
		wantNothing(t, s, storeDir)
	}
}

// A redirect that carries credentials to another host: another port of the same
// machine, where somebody else listens.
func TestAttackRedirect(t *testing.T) {
	var seen atomic.Value // what the stranger was shown
	seen.Store("")
	r := newRegistry(t)
	l := gzipLayer(t, "a", "1")
	r.put("demo", "1", l)
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		seen.Store(req.Header.Get("Authorization"))
		w.Write(l.blob)
	}))
	t.Cleanup(stranger.Close)
	r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		switch {
		case req.Header.Get("Authorization") == "":
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "who are you?")
		case strings.HasSuffix(req.URL.Path, l.digest().String()):
			http.Redirect(w, req, stranger.URL+"/blob", http.StatusTemporaryRedirect)
		default:
			next.ServeHTTP(w, req)
		}
	}

	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s/v2/demo/blobs/%s", r.host, l.digest()), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("ann", "secret")
	resp, err := http.DefaultClient.Do(req) // the naive way
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if seen.Load() == "" {
		t.Error("the attack does not work on Go's own client any more: then its place in the chapter is free")
	}

	seen.Store("")
	s, _ := openStore(t)
	if _, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{Credentials: Credentials{Username: "ann", Password: "secret"}}); err != nil {
		t.Fatal(err)
	}
	if seen.Load() != "" {
		t.Errorf("the stranger was shown %q", seen.Load())
	}
}

// A tag that moves between check and use. Who looks at a tag's manifest and then
// fetches the tag may get another one.
func TestAttackMovingTag(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	good, evil := gzipLayer(t, "bin/login", "good"), gzipLayer(t, "bin/login", "evil")
	checked := r.put("demo", "good", good)
	r.put("demo", "evil", evil)
	var asked atomic.Int64
	r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if strings.HasSuffix(req.URL.Path, "/manifests/1") { // good the first time, evil from then on
			if asked.Add(1) == 1 {
				req.URL.Path = strings.TrimSuffix(req.URL.Path, "1") + "good"
			} else {
				req.URL.Path = strings.TrimSuffix(req.URL.Path, "1") + "evil"
			}
		}
		next.ServeHTTP(w, req)
	}
	document := func() (m ocispec.Manifest) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, "http://"+r.host+"/v2/demo/manifests/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", ocispec.MediaTypeImageManifest)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	if check, use := document(), document(); check.Layers[0].Digest != good.digest() || use.Layers[0].Digest != evil.digest() {
		t.Error("the attack does not work on those who ask twice")
	}

	// Within one pull the tag is asked for once, so that all of it is one image.
	asked.Store(0)
	img, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n := asked.Load(); n != 1 || img.Manifest != checked.Digest {
		t.Errorf("the tag was asked for %d times, and the image is %s; want once and %s", n, img.Manifest, checked.Digest)
	}
	// And who has checked a digest asks for that.
	byDigest, err := s.Pull(t.Context(), r.host+"/demo@"+checked.Digest.String(), PullOptions{})
	if err != nil || byDigest.ID != img.ID {
		t.Errorf("by digest: %s, %v; want what was checked, %s", byDigest.ID, err, img.ID)
	}
	moved, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{})
	if err != nil || moved.ID == img.ID {
		t.Errorf("the next pull of the tag: %s, %v", moved.ID, err)
	}
}

// A layer bomb: a small blob that fills the disk when it is unpacked. Whoever
// inflates it to a file finds out when nothing else can be written.
func TestAttackLayerBomb(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	bomb := gzipLayer(t, "zeros", string(make([]byte, 64<<20)))
	if len(bomb.blob) > 1<<20 {
		t.Fatalf("the bomb has %d bytes", len(bomb.blob))
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	free := func() int64 {
		t.Helper()
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		return int64(st.Bavail) * st.Bsize
	}

	// The naive way.
	plain, err := decompress(bytes.NewReader(bomb.blob))
	if err != nil {
		t.Fatal(err)
	}
	naive, err := os.Create(filepath.Join(dir, "layer.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(naive, plain); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the bomb did not go off: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "neighbour"), make([]byte, 8192), 0o644); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a neighbour writes: %v; want that the disk is full", err)
	}
	for _, name := range []string{"layer.tar", "neighbour"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	naive.Close()

	// Ours.
	r := newRegistry(t)
	r.put("bomb", "1", bomb)
	store := filepath.Join(dir, "store")
	s := openStoreIn(t, store)
	least := free()
	before := least
	_, err = s.Pull(t.Context(), r.host+"/bomb:1", PullOptions{Progress: func(Progress) { least = min(least, free()) }})
	wantError(t, err, "67108864 bytes", "are free")
	wantNothing(t, s, store)
	if least < before-2<<20 {
		t.Errorf("of %d free bytes %d were left meanwhile", before, least)
	}
}
