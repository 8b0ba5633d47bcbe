//go:build linux

package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// The steps of a pull and of a push, as a registry sees them.
const (
	stepPing     = "ping"
	stepToken    = "token"
	stepManifest = "manifest"
	stepConfig   = "config"
	stepLayer    = "layer"
	stepAsk      = "blob, asked for"
	stepStart    = "upload, start"
	stepUpload   = "upload, bytes"
	stepPut      = "manifest, put"
)

var (
	pullSteps = []string{stepPing, stepToken, stepManifest, stepConfig, stepLayer}
	pushSteps = []string{stepPing, stepToken, stepAsk, stepStart, stepUpload, stepPut}
)

// proxy stands before a registry, wants a token, and does what it is told
// to some of the requests.
type proxy struct {
	*testRegistry // behind it
	host          string
	config        string // the config's digest, which tells it from layers

	mu     sync.Mutex
	fault  func(step string, w http.ResponseWriter, r *http.Request, next http.Handler) bool
	tokens int            // how many were given out; the last one is valid
	uses   int            // how often it was used
	life   int            // after so many uses it has expired; 0: never
	asked  map[string]int // by step
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{testRegistry: newRegistry(t), asked: make(map[string]int)}
	behind := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: p.testRegistry.host})
	behind.FlushInterval = -1
	behind.ErrorLog = log.New(io.Discard, "", 0) // that a client leaves is part of the tests
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		step := p.step(r)
		p.mu.Lock()
		p.asked[step]++
		fault := p.fault
		p.mu.Unlock()
		if fault != nil && fault(step, w, r, behind) {
			return
		}
		if step == stepToken {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.tokens, p.uses = p.tokens+1, 0
			fmt.Fprintf(w, `{"token":"%d"}`, p.tokens)
			return
		}
		if !p.admit(r.Header.Get("Authorization")) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, p.host))
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
			return
		}
		r.Header.Del("Authorization")
		behind.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.host = strings.TrimPrefix(server.URL, "http://")
	return p
}

// admit says whether a token is the newest, and has not expired.
func (p *proxy) admit(authorization string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if authorization != fmt.Sprintf("Bearer %d", p.tokens) || p.tokens == 0 || p.life > 0 && p.uses >= p.life {
		return false
	}
	p.uses++
	return true
}

func (p *proxy) step(r *http.Request) string {
	switch path := r.URL.Path; {
	case path == "/v2/":
		return stepPing
	case path == "/token":
		return stepToken
	case strings.Contains(path, "/manifests/") && r.Method == http.MethodPut:
		return stepPut
	case strings.Contains(path, "/manifests/"):
		return stepManifest
	case r.Method == http.MethodPost:
		return stepStart
	case strings.Contains(path, "/uploads/"):
		return stepUpload
	case r.Method == http.MethodHead:
		return stepAsk
	case p.config != "" && strings.HasSuffix(path, p.config):
		return stepConfig
	}
	return stepLayer
}

// image puts an image behind the proxy.
func (p *proxy) image(layers ...layer) {
	p.t.Helper()
	p.put("demo", "1", layers...)
	raw, err := json.Marshal(configFor(FormatPlatform(HostPlatform()), layers...))
	if err != nil {
		p.t.Fatal(err)
	}
	p.config = digest.FromBytes(raw).String()
}

// setFault changes what is done to requests.
func (p *proxy) setFault(fault func(step string, w http.ResponseWriter, r *http.Request, next http.Handler) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// answer lets the first times requests of a step be answered with a status;
// 0 is all of them.
func (p *proxy) answer(at string, status, times int) {
	n := 0
	p.setFault(func(step string, w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if step != at || times > 0 && n == times {
			return false
		}
		n++
		refuse(w, status, "UNKNOWN", "says the proxy")
		return true
	})
}

// kinds are the errors that statuses become.
var kinds = map[int]func(error) bool{
	401: errdefs.IsUnauthorized,
	403: errdefs.IsPermissionDenied,
	404: errdefs.IsNotFound,
	429: errdefs.IsResourceExhausted,
	500: errdefs.IsUnavailable,
	503: errdefs.IsUnavailable,
}

// Every refusal at every step of a pull: it fails with its kind, nothing is
// left but what was complete, and the next pull succeeds. What passes when it is asked again is
// not the user's business at all.
func TestPullRefusedAtEachStep(t *testing.T) {
	t.Parallel()
	hosttest.Require(t, hosttest.Root)
	l := gzipLayer(t, "a", "1")
	var cells errgroup.Group // most of the time they wait, as long as is polite
	for _, step := range pullSteps {
		for status, kind := range kinds {
			p := newProxy(t)
			p.image(l)
			s, dir := openStore(t)
			cells.Go(func() error {
				cell := fmt.Sprintf("%d at %s", status, step)
				p.answer(step, status, 0)
				if _, err := s.Pull(t.Context(), p.host+"/demo:1", PullOptions{}); !kind(err) {
					t.Errorf("%s: %v, which is of another kind", cell, err)
				}
				wantNothing(t, s, dir)
				times := 1
				if status < 429 {
					times = 0 // it stays so, until
					p.setFault(nil)
				} else {
					p.answer(step, status, 1)
				}
				if _, err := s.Pull(t.Context(), p.host+"/demo:1", PullOptions{}); err != nil {
					t.Errorf("%s, %d times: %v", cell, times, err)
				}
				wantComplete(t, s)
				return nil
			})
		}
	}
	_ = cells.Wait() // each cell has said what was wrong
}

// That a tag is not there and that a blob is not are different news.
func TestPullOfAnImageThatIsNotWhole(t *testing.T) {
	s, _ := openStore(t)
	p := newProxy(t)
	p.image(gzipLayer(t, "a", "1"))
	for step, want := range map[string]string{
		stepManifest: "manifest for " + p.host + "/demo:1 not found: ",
		stepConfig:   "pull " + p.host + "/demo:1: the registry lacks what its manifest names: blob sha256:",
		stepLayer:    "pull " + p.host + "/demo:1: the registry lacks what its manifest names: layer ",
	} {
		p.answer(step, http.StatusNotFound, 0)
		_, err := s.Pull(t.Context(), p.host+"/demo:1", PullOptions{})
		wantError(t, err, want)
	}
}

// manifestStatus asks the registry behind the proxy for a manifest.
func (p *proxy) manifestStatus(repository string, d digest.Digest) int {
	req, err := http.NewRequest(http.MethodHead, fmt.Sprintf("http://%s/v2/%s/manifests/%s", p.testRegistry.host, repository, d), nil)
	if err != nil {
		p.t.Error(err)
		return 0
	}
	req.Header.Set("Accept", ocispec.MediaTypeImageManifest)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Error(err)
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// The same for a push. What was refused leaves no manifest there.
func TestPushRefusedAtEachStep(t *testing.T) {
	t.Parallel()
	hosttest.Require(t, hosttest.Root)
	var cells errgroup.Group
	for _, step := range pushSteps {
		for status, kind := range kinds {
			if step == stepAsk && status == 404 {
				continue // that is an answer
			}
			p := newProxy(t)
			s, _ := openStore(t)
			img := create(t, s, p.host+"/demo:1", [2]string{"a", "1"})
			cells.Go(func() error {
				cell := fmt.Sprintf("%d at %s", status, step)
				p.answer(step, status, 0)
				// An upload that is not known is begun again, and each time it is not.
				if _, err := s.Push(t.Context(), p.host+"/demo:1", PushOptions{}); !kind(err) {
					t.Errorf("%s: %v, which is of another kind", cell, err)
				}
				p.setFault(nil)
				if status := p.manifestStatus("demo", img.Manifest); status != http.StatusNotFound {
					t.Errorf("%s: after a push that failed the manifest's status is %d", cell, status)
				}
				if status >= 429 {
					p.answer(step, status, 1)
				}
				if d, err := s.Push(t.Context(), p.host+"/demo:1", PushOptions{}); err != nil || d != img.Manifest {
					t.Errorf("%s: the push after it: %s, %v", cell, d, err)
				}
				if status := p.manifestStatus("demo", img.Manifest); status != http.StatusOK {
					t.Errorf("%s: after the push the manifest's status is %d", cell, status)
				}
				return nil
			})
		}
	}
	_ = cells.Wait()
}

// A token that expires every second request, also between two pieces of one blob.
func TestTokenExpiresDuringThePull(t *testing.T) {
	p := newProxy(t)
	p.life = 2
	layers := []layer{plainLayer(t, "a", noise(300_000)), plainLayer(t, "b", noise(200_000)), gzipLayer(t, "c", "c")}
	p.image(layers...)
	p.setFault(cutEvery(p, 64<<10))
	s, _ := openStore(t)
	if _, err := s.Pull(t.Context(), p.host+"/demo:1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	wantComplete(t, s)
	if p.tokens < 3 {
		t.Errorf("%d tokens were asked for; one lasts for two requests", p.tokens)
	}
}

// cutEvery ends each answer to a layer's request after so many bytes. It lets the
// token be checked first.
func cutEvery(p *proxy, n int) func(string, http.ResponseWriter, *http.Request, http.Handler) bool {
	return func(step string, w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		if step != stepLayer || !p.admit(r.Header.Get("Authorization")) {
			return false
		}
		r.Header.Del("Authorization")
		next.ServeHTTP(&cutting{w, n}, r)
		return true
	}
}

// wrongly answers a layer's request itself, with the right bytes as a start.
func wrongly(p *proxy, answer func(w http.ResponseWriter, r *http.Request, body []byte)) func(string, http.ResponseWriter, *http.Request, http.Handler) bool {
	return func(step string, w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		if step != stepLayer || !p.admit(r.Header.Get("Authorization")) {
			return false
		}
		whole := r.Clone(r.Context())
		whole.Header = http.Header{}
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, whole)
		answer(w, r, rec.Body.Bytes())
		return true
	}
}

// What a network and a bad registry can do to the bytes of a layer.
func TestPullOfDamagedLayers(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	l := gzipLayer(t, "big", noise(300_000))
	for _, tt := range []struct {
		name   string
		kind   func(error) bool // nil: the pull succeeds all the same
		answer func(w http.ResponseWriter, r *http.Request, body []byte)
	}{
		{"slow", nil, func(w http.ResponseWriter, _ *http.Request, body []byte) {
			for piece := range slices.Chunk(body, 4<<10) {
				w.Write(piece)
				w.(http.Flusher).Flush()
				<-time.After(time.Millisecond)
			}
		}},
		{"no ranges, and every connection cut", errdefs.IsUnavailable, func(w http.ResponseWriter, _ *http.Request, body []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.Write(body[:len(body)/2])
			panic(http.ErrAbortHandler)
		}},
		{"a range that was not asked for", errdefs.IsDataLoss, func(w http.ResponseWriter, r *http.Request, body []byte) {
			if r.Header.Get("Range") == "" {
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				w.Write(body[:1000])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(body)-1, len(body)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(body)
		}},
		{"a length that is too small", errdefs.IsDataLoss, func(w http.ResponseWriter, _ *http.Request, body []byte) { sized(w, body[:len(body)-1]) }},
		{"a length that is too large", errdefs.IsDataLoss, func(w http.ResponseWriter, _ *http.Request, body []byte) { sized(w, append(body, 0)) }},
		{"no length, and too many bytes", errdefs.IsDataLoss, func(w http.ResponseWriter, _ *http.Request, body []byte) {
			w.(http.Flusher).Flush()
			w.Write(append(body, 0))
		}},
		{"wrong bytes", errdefs.IsDataLoss, func(w http.ResponseWriter, _ *http.Request, body []byte) {
			body[len(body)/2] ^= 1
			w.Write(body)
		}},
		{"other bytes", errdefs.IsDataLoss, func(w http.ResponseWriter, _ *http.Request, body []byte) {
			io.WriteString(w, strings.Repeat("x", len(body)))
		}},
		{"a page of a hotel", errdefs.IsDataLoss, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>Please accept our terms</html>")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newProxy(t)
			p.image(l)
			s, dir := openStore(t)
			p.setFault(wrongly(p, tt.answer))
			_, err := s.Pull(t.Context(), p.host+"/demo:1", PullOptions{})
			if tt.kind == nil {
				if err != nil {
					t.Fatal(err)
				}
				wantComplete(t, s)
				return
			}
			if !tt.kind(err) {
				t.Errorf("%v is of another kind", err)
			}
			wantNothing(t, s, dir)
			p.setFault(nil)
			if _, err := s.Pull(t.Context(), p.host+"/demo:1", PullOptions{}); err != nil {
				t.Errorf("the next pull: %v", err)
			}
			wantComplete(t, s)
		})
	}
}

// sized answers with a body whose length it states.
func sized(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.Write(body)
}

// Pulls that are cancelled at any moment.
func TestPullsCancelledAtRandom(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	p.image(gzipLayer(t, "a", noise(400_000)), zstdLayer(t, "b", noise(300_000)), gzipLayer(t, "c", "c"))
	s, dir := openStore(t)
	began := time.Now()
	if _, err := s.Pull(t.Context(), p.host+"/demo:1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(began)
	cancelled := 0
	for range 40 {
		if _, _, err := s.Remove(t.Context(), p.host+"/demo:1", true); err != nil && !errdefs.IsNotFound(err) {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(whole))
		if _, err := s.Pull(ctx, p.host+"/demo:1", PullOptions{}); err != nil {
			cancelled++
		}
		cancel()
		wantComplete(t, s)
		wantNoTemporaries(t, dir)
	}
	t.Logf("%d of 40 pulls were cancelled", cancelled)
	if _, err := s.Pull(t.Context(), p.host+"/demo:1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	wantComplete(t, s)
}

// A disk that is full at any moment of the pull: the error says so, nothing half
// stays, and with room the next pull succeeds.
func TestPullWithoutRoom(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	r := newRegistry(t)
	r.put("demo", "1", gzipLayer(t, "a", noise(1_000_000)), gzipLayer(t, "b", noise(500_000)), gzipLayer(t, "c", "c"))
	failed := 0
	for size := 256 << 10; ; size += 192 << 10 {
		dir := t.TempDir()
		mount := func(flags uintptr, size int) {
			t.Helper()
			if err := unix.Mount("tmpfs", dir, "tmpfs", flags, fmt.Sprintf("size=%d", size)); err != nil {
				t.Fatal(err)
			}
		}
		mount(0, size)
		t.Cleanup(func() {
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		s := openStoreIn(t, dir)
		_, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{})
		wantComplete(t, s)
		wantNoTemporaries(t, dir)
		if err == nil {
			break
		}
		failed++
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%d bytes: %v; want no space left on device", size, err)
		}
		if all, err := s.List(); err != nil || len(all) != 0 {
			t.Errorf("%d bytes: %d images, %v", size, len(all), err)
		}
		mount(unix.MS_REMOUNT, 64<<20)
		if _, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{}); err != nil {
			t.Errorf("%d bytes, and then 64 MiB: %v", size, err)
		}
		wantComplete(t, s)
	}
	t.Logf("%d sizes were too small", failed)
	if failed < 5 {
		t.Errorf("only %d sizes were too small", failed)
	}
}

// wantNoTemporaries fails where something half written is left in a store.
func wantNoTemporaries(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && (strings.HasPrefix(d.Name(), tmpPrefix) || strings.HasPrefix(d.Name(), "tmp-")) {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
