//go:build linux

package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// statuses collects what a pull says.
type statuses struct {
	mu  sync.Mutex
	all []Progress
}

func (s *statuses) add(p Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, p)
}

func (s *statuses) has(id, status string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.all, func(p Progress) bool { return p.ID == id && strings.HasPrefix(p.Status, status) })
}

func TestPullGzipZstdPlainAndWhiteout(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	base := gzipLayer(t, "etc/", "", "etc/motd", "old", "etc/gone", "x", "big", noise(3<<20))
	middle := zstdLayer(t, "etc/motd", "new")
	top := plainLayer(t, "etc/.wh.gone", "")
	desc := r.put("demo/app", "1", base, middle, top)

	var seen statuses
	img, err := s.Pull(t.Context(), r.host+"/demo/app:1", PullOptions{Progress: seen.add})
	if err != nil {
		t.Fatal(err)
	}
	wantComplete(t, s)
	if got, err := read(t, s, img, "etc/motd"); got != "new" {
		t.Errorf("etc/motd = %q, %v; want the middle layer's", got, err)
	}
	if _, err := read(t, s, img, "etc/gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("etc/gone is there (%v), although the top layer has a whiteout for it", err)
	}
	if img.Manifest != desc.Digest || img.Size != int64(len("oldxnew")+(3<<20)) {
		t.Errorf("manifest %s, size %d", img.Manifest, img.Size)
	}
	if want := []string{r.host + "/demo/app:1"}; !slices.Equal(img.Tags, want) {
		t.Errorf("tags %q, want %q", img.Tags, want)
	}
	if want := []string{r.host + "/demo/app@" + desc.Digest.String()}; !slices.Equal(img.Digests, want) {
		t.Errorf("digests %q, want %q", img.Digests, want)
	}
	for _, want := range []Progress{
		{ID: "1", Status: "Pulling from demo/app"},
		{ID: shortID(base.digest().String()), Status: "Pulling fs layer"},
		{ID: shortID(base.digest().String()), Status: "Downloading"},
		{ID: shortID(base.digest().String()), Status: "Download complete"},
		{ID: shortID(base.digest().String()), Status: "Pull complete"},
		{Status: "Digest: " + desc.Digest.String()},
		{Status: "Status: Downloaded newer image for " + r.host + "/demo/app:1"},
	} {
		if !seen.has(want.ID, want.Status) {
			t.Errorf("the pull did not say %+v", want)
		}
	}
}

func TestPullAgainFetchesNothing(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	shared, one, two := gzipLayer(t, "base", "b"), gzipLayer(t, "one", "1"), gzipLayer(t, "two", "2")
	r.put("demo", "1", shared, one)
	r.put("demo", "2", shared, two)
	for _, tag := range []string{"1", "1", "2"} {
		var seen statuses
		if _, err := s.Pull(t.Context(), r.host+"/demo:"+tag, PullOptions{Progress: seen.add}); err != nil {
			t.Fatal(err)
		}
		if tag == "2" && !seen.has(shortID(shared.digest().String()), "Already exists") {
			t.Error("the shared layer is not said to exist already")
		}
	}
	for _, l := range []layer{shared, one, two} {
		if n := r.fetched(l.digest()); n != 1 {
			t.Errorf("layer %s was fetched %d times, want once", l.digest(), n)
		}
	}
	wantComplete(t, s)
}

func TestPullTwiceAtOnceFetchesOnce(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	l := gzipLayer(t, "big", noise(1<<20))
	r.put("demo", "1", l)
	r.put("demo", "2", l)
	// The first to ask for the blob waits until the second pull has come to
	// it, too: it says so by its progress.
	second := make(chan struct{})
	r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if strings.HasSuffix(req.URL.Path, l.digest().String()) {
			<-second
		}
		next.ServeHTTP(w, req)
	}
	var once sync.Once
	var pulls sync.WaitGroup
	var mu sync.Mutex
	waiting := 0
	for _, tag := range []string{"1", "2"} {
		pulls.Go(func() {
			_, err := s.Pull(context.Background(), r.host+"/demo:"+tag, PullOptions{Progress: func(p Progress) {
				if p.Status != "Pulling fs layer" {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if waiting++; waiting == 2 {
					once.Do(func() { close(second) })
				}
			}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	pulls.Wait()
	if n := r.fetched(l.digest()); n != 1 {
		t.Errorf("the layer was fetched %d times, want once", n)
	}
	wantComplete(t, s)
}

func TestPullOfAnIndexTakesThisPlatform(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	host := HostPlatform()
	mine, other := gzipLayer(t, "mine", "m"), gzipLayer(t, "other", "o")
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for platform, l := range map[string]layer{FormatPlatform(host): mine, "linux/s390x": other} {
		p, _ := ParsePlatform(platform)
		desc := r.putConfig("multi", "", configFor(platform, l), l)
		desc.Platform = &p
		index.Manifests = append(index.Manifests, desc)
	}
	top := r.putManifest("multi", "1", index.MediaType, index)

	img, err := s.Pull(t.Context(), r.host+"/multi:1", PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if img.Config.Architecture != host.Architecture || img.DiffIDs[0] != mine.diffID() {
		t.Errorf("pulled %s %v", img.Config.Architecture, img.DiffIDs)
	}
	if want := r.host + "/multi@" + top.Digest.String(); !slices.Contains(img.Digests, want) {
		t.Errorf("digests %q, want the index's %q", img.Digests, want)
	}
	byDigest, err := s.Pull(t.Context(), r.host+"/multi@"+top.Digest.String(), PullOptions{Platform: &ocispec.Platform{OS: "linux", Architecture: "s390x"}})
	if err != nil {
		t.Fatal(err)
	}
	if byDigest.DiffIDs[0] != other.diffID() {
		t.Error("asked for s390x and got another")
	}
	_, err = s.Pull(t.Context(), r.host+"/multi:1", PullOptions{Platform: &ocispec.Platform{OS: "linux", Architecture: "riscv64"}})
	wantError(t, err, "no matching manifest for linux/riscv64 in the manifest list entries", "linux/s390x")
	if !errdefs.IsNotFound(err) {
		t.Errorf("%v is not a NotFound", err)
	}
}

// Every bad image and every bad registry: what is said, and that nothing is left.
func TestPullRefuses(t *testing.T) {
	good := gzipLayer(t, "big", noise(1<<20))
	blob := "/blobs/" + good.digest().String()
	host := FormatPlatform(HostPlatform())
	other := "linux/s390x"
	tests := []struct {
		name  string
		setup func(r *testRegistry)
		ref   string // after the registry's host; /demo:1 where empty
		want  []string
		kind  func(error) bool
	}{
		{
			name: "no such image", ref: "/nosuch:1",
			want: []string{"manifest for HOST/nosuch:1 not found: ", "unknown"}, kind: errdefs.IsNotFound,
		},
		{
			name:  "no such tag",
			setup: func(r *testRegistry) { r.put("demo", "1", good) }, ref: "/demo:2",
			want: []string{"manifest for HOST/demo:2 not found: manifest unknown: manifest unknown"}, kind: errdefs.IsNotFound,
		},
		{
			name: "invalid reference", ref: "/Demo:1",
			want: []string{"/Demo:1\": invalid reference format: ", "must be lowercase"}, kind: errdefs.IsInvalidArgument,
		},
		{
			name: "connection cut half-way",
			setup: func(r *testRegistry) {
				r.put("demo", "1", good)
				r.onBlob(blob, func(w http.ResponseWriter, body []byte) {
					w.Header().Set("Content-Length", fmt.Sprint(len(body)))
					w.Write(body[:len(body)/2])
					panic(http.ErrAbortHandler)
				})
			},
			want: []string{good.digest().String(), fmt.Sprintf("the connection ended after %d of %d bytes", len(good.blob)/2, len(good.blob))}, kind: errdefs.IsUnavailable,
		},
		{
			name: "a blob that is not what its digest says",
			setup: func(r *testRegistry) {
				r.put("demo", "1", good)
				r.onBlob(blob, func(w http.ResponseWriter, body []byte) {
					body[len(body)/2] ^= 1
					w.Write(body)
				})
			},
			want: []string{"blob does not match its digest: want " + good.digest().String() + ", got sha256:"}, kind: errdefs.IsDataLoss,
		},
		{
			name: "a blob that is longer than its manifest says",
			setup: func(r *testRegistry) {
				r.put("demo", "1", good)
				r.onBlob(blob, func(w http.ResponseWriter, body []byte) {
					w.(http.Flusher).Flush() // no Content-Length
					w.Write(append(body, 0))
				})
			},
			want: []string{fmt.Sprintf("larger than the %d bytes that its manifest states", len(good.blob))}, kind: errdefs.IsDataLoss,
		},
		{
			name: "a blob that ends early, without a word",
			setup: func(r *testRegistry) {
				r.put("demo", "1", good)
				r.onBlob(blob, func(w http.ResponseWriter, body []byte) {
					w.(http.Flusher).Flush()
					w.Write(body[:1000])
				})
			},
			want: []string{fmt.Sprintf("ended after 1000 of %d bytes: unexpected EOF", len(good.blob))}, kind: errdefs.IsUnavailable,
		},
		{
			name: "the registry announces another size",
			setup: func(r *testRegistry) {
				r.put("demo", "1", good)
				r.onBlob(blob, func(w http.ResponseWriter, body []byte) { w.Write([]byte("short")) })
			},
			want: []string{fmt.Sprintf("the manifest says %d bytes, the registry sends 5", len(good.blob))}, kind: errdefs.IsDataLoss,
		},
		{
			name: "the manifest is not that of the digest",
			setup: func(r *testRegistry) {
				r.put("demo", "1", good)
				r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
					rec := httptest.NewRecorder()
					next.ServeHTTP(rec, req)
					w.Header().Set("Docker-Content-Digest", digest.FromString("other").String())
					w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
					w.Write(rec.Body.Bytes())
				}
			},
			want: []string{"manifest 1 does not match its digest: want " + digest.FromString("other").String()}, kind: errdefs.IsDataLoss,
		},
		{
			name: "Windows only, an index",
			setup: func(r *testRegistry) {
				desc := r.putConfig("demo", "", configFor("windows/amd64", good), good)
				desc.Platform = &ocispec.Platform{OS: "windows", Architecture: "amd64"}
				r.putManifest("demo", "1", ocispec.MediaTypeImageIndex, ocispec.Index{
					Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{desc},
				})
			},
			want: []string{"no matching manifest for " + host + " in the manifest list entries", "for Windows only (windows/amd64)"}, kind: errdefs.IsNotFound,
		},
		{
			name:  "Windows only, a manifest",
			setup: func(r *testRegistry) { r.putConfig("demo", "1", configFor("windows/amd64", good), good) },
			want:  []string{`image operating system "windows" cannot be used on this platform`}, kind: errdefs.IsInvalidArgument,
		},
		{
			name:  "another architecture",
			setup: func(r *testRegistry) { r.putConfig("demo", "1", configFor(other, good), good) },
			want:  []string{"does not match the specified platform: wanted " + host + ", actual: " + other}, kind: errdefs.IsNotFound,
		},
		{
			name: "fewer diff IDs than layers",
			setup: func(r *testRegistry) {
				r.putConfig("demo", "1", configFor(host), good)
			},
			want: []string{"has 0 diff IDs, its manifest has 1 layers"}, kind: errdefs.IsInvalidArgument,
		},
		{
			name: "a diff ID that is not the layer's",
			setup: func(r *testRegistry) {
				c := configFor(host, good)
				c.RootFS.DiffIDs[0] = digest.FromString("something else")
				r.putConfig("demo", "1", c, good)
			},
			want: []string{digest.FromString("something else").String(), good.diffID().String()},
		},
		{
			name: "a layer that is no archive",
			setup: func(r *testRegistry) {
				bad := layer{ocispec.MediaTypeImageLayer, []byte(noise(2000)), []byte(noise(2000))}
				r.put("demo", "1", bad)
			},
			want: []string{"tar"},
		},
		{
			name: "an artifact",
			setup: func(r *testRegistry) {
				m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
				m.Config = r.putBlob("demo", "application/vnd.cncf.helm.config.v1+json", []byte("{}"))
				m.Layers = []ocispec.Descriptor{r.putBlob("demo", "application/vnd.cncf.helm.chart.content.v1.tar+gzip", good.blob)}
				r.putManifest("demo", "1", m.MediaType, m)
			},
			want: []string{`is not an image: its config is of type "application/vnd.cncf.helm.config.v1+json"`}, kind: errdefs.IsInvalidArgument,
		},
		{
			name: "a manifest without end",
			setup: func(r *testRegistry) {
				r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
					if req.URL.Path == "/v2/" {
						next.ServeHTTP(w, req)
						return
					}
					w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
					io.WriteString(w, `{"schemaVersion":2,"annotations":{"x":"`+noise(5<<20)+`"}}`)
				}
			},
			want: []string{"manifest 1 is larger than 4194304 bytes"}, kind: errdefs.IsInvalidArgument,
		},
		{
			name: "access denied",
			setup: func(r *testRegistry) {
				r.answerAll(http.StatusForbidden, "DENIED", "requested access to the resource is denied")
			},
			want: []string{"pull access denied for HOST/demo, repository does not exist or may require 'docker login': denied: requested access to the resource is denied"},
			kind: errdefs.IsPermissionDenied,
		},
		{
			name:  "too many requests",
			setup: func(r *testRegistry) { r.answerAll(http.StatusTooManyRequests, "TOOMANYREQUESTS", "come back later") },
			want:  []string{"pull HOST/demo:1: toomanyrequests: come back later"}, kind: errdefs.IsResourceExhausted,
		},
		{
			name:  "the registry is broken",
			setup: func(r *testRegistry) { r.answerAll(http.StatusBadGateway, "", "") },
			want:  []string{"received unexpected HTTP status: 502 Bad Gateway"}, kind: errdefs.IsUnavailable,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, dir := openStore(t)
			r := newRegistry(t)
			if tt.setup != nil {
				tt.setup(r)
			}
			if tt.ref == "" {
				tt.ref = "/demo:1"
			}
			_, err := s.Pull(t.Context(), r.host+tt.ref, PullOptions{})
			for i := range tt.want {
				tt.want[i] = strings.ReplaceAll(tt.want[i], "HOST", r.host)
			}
			wantError(t, err, tt.want...)
			if tt.kind != nil && !tt.kind(err) {
				t.Errorf("%v is of another kind", err)
			}
			wantNothing(t, s, dir)
		})
	}
}

// onBlob lets f answer for a blob, given its bytes.
func (r *testRegistry) onBlob(path string, f func(w http.ResponseWriter, body []byte)) {
	r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if !strings.HasSuffix(req.URL.Path, path) {
			next.ServeHTTP(w, req)
			return
		}
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, req)
		f(w, rec.Body.Bytes())
	}
}

// answerAll answers everything but the first question with an error.
func (r *testRegistry) answerAll(status int, code, message string) {
	r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		switch {
		case req.URL.Path == "/v2/":
			next.ServeHTTP(w, req)
		case code == "":
			w.WriteHeader(status)
		default:
			refuse(w, status, code, message)
		}
	}
}

func TestPullFromNobody(t *testing.T) {
	s, dir := openStore(t)
	server := httptest.NewServer(nil)
	host := strings.TrimPrefix(server.URL, "http://")
	server.Close() // nobody listens there now
	_, err := s.Pull(t.Context(), host+"/demo:1", PullOptions{})
	wantError(t, err, host, "connection refused")
	if !errdefs.IsUnavailable(err) {
		t.Errorf("%v is not Unavailable", err)
	}
	wantNothing(t, s, dir)
}

// A registry that is silent in the middle of a blob, and a user who gives up.
func TestCancelledPullLeavesNothing(t *testing.T) {
	s, dir := openStore(t)
	r := newRegistry(t)
	l := gzipLayer(t, "big", noise(1<<20))
	r.put("demo", "1", l)
	ctx, cancel := context.WithCancel(t.Context())
	r.onBlob("/blobs/"+l.digest().String(), func(w http.ResponseWriter, body []byte) {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body[:len(body)/2])
		w.(http.Flusher).Flush()
		cancel()
		<-ctx.Done()
		panic(http.ErrAbortHandler)
	})
	if _, err := s.Pull(ctx, r.host+"/demo:1", PullOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Pull = %v, want context.Canceled", err)
	}
	wantNothing(t, s, dir)

	r.fault = nil
	if _, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{}); err != nil {
		t.Fatalf("the pull after it: %v", err)
	}
	wantComplete(t, s)
}

// One of two layers fails: the other one stays for the next pull, which does
// not fetch it again.
func TestPullAfterAFailureFetchesTheRest(t *testing.T) {
	s, dir := openStore(t)
	r := newRegistry(t)
	fine, bad := gzipLayer(t, "fine", noise(2<<20)), gzipLayer(t, "bad", noise(1<<20))
	r.put("demo", "1", fine, bad)
	done := make(chan struct{})
	r.onBlob("/blobs/"+bad.digest().String(), func(w http.ResponseWriter, body []byte) {
		<-done
		body[100] ^= 1
		w.Write(body)
	})
	_, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{Progress: func(p Progress) {
		if p.ID == shortID(fine.digest().String()) && p.Status == "Pull complete" {
			close(done)
		}
	}})
	wantError(t, err, "does not match its digest")
	if !s.layers.Has(fine.diffID()) || s.layers.Has(bad.diffID()) {
		t.Errorf("layers: fine %v, bad %v; want only the first", s.layers.Has(fine.diffID()), s.layers.Has(bad.diffID()))
	}
	r.fault = nil
	again := openStoreFresh(t, s, dir)
	if _, err := again.Pull(t.Context(), r.host+"/demo:1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := r.fetched(fine.digest()); n != 1 {
		t.Errorf("the layer that was complete was fetched %d times", n)
	}
	wantComplete(t, again)
}

// openStoreFresh opens the directory of s again, as a new process would.
func openStoreFresh(t *testing.T, s *Store, dir string) *Store {
	t.Helper()
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	return openStoreIn(t, dir)
}

func TestTagMoves(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	name := r.host + "/demo:latest"
	r.put("demo", "latest", gzipLayer(t, "v", "1"))
	old, err := s.Pull(t.Context(), name, PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.put("demo", "latest", gzipLayer(t, "v", "2"))
	img, err := s.Pull(t.Context(), r.host+"/demo", PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(name); err != nil || got.ID != img.ID {
		t.Errorf("Get(%q) = %s, %v; want the newer", name, got.ID, err)
	}
	if got, err := s.Get(old.ID.String()); err != nil || len(got.Tags) != 0 {
		t.Errorf("the older image: tags %q, %v; want none, and that it is here", got.Tags, err)
	}
}

// What a registry serves as schema 2 of Docker is an image as well.
func TestPullDockerSchema2(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	l := gzipLayer(t, "f", "x")
	raw, _ := json.Marshal(configFor(FormatPlatform(HostPlatform()), l))
	r.putManifest("demo", "1", dockerManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: dockerManifest,
		Config: r.putBlob("demo", dockerConfig, raw),
		Layers: []ocispec.Descriptor{r.putBlob("demo", dockerLayer+".gzip", l.blob)},
	})
	if _, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	wantComplete(t, s)
}
