//go:build linux

package images

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

func TestPush(t *testing.T) {
	for _, tt := range []struct {
		name  string
		chunk int64
	}{{"at once", 0}, {"in chunks", 100_000}} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRegistry(t)
			from, _ := openStore(t)
			to, _ := openStore(t)
			img := create(t, from, "demo:1", [2]string{"a", "1"}, [2]string{"b", noise(450_000)})
			push := func(name string) *statuses {
				t.Helper()
				if err := from.Tag("demo:1", r.host+name); err != nil {
					t.Fatal(err)
				}
				var seen statuses
				d, err := from.Push(t.Context(), r.host+name, PushOptions{Chunk: tt.chunk, Progress: seen.add})
				if err != nil || d != img.Manifest {
					t.Fatalf("Push = %s, %v; want %s", d, err, img.Manifest)
				}
				return &seen
			}
			layer := shortID(img.DiffIDs[1].Encoded())
			seen := push("/demo:1")
			for _, want := range []Progress{
				{Status: "The push refers to repository [" + r.host + "/demo]"},
				{ID: layer, Status: "Preparing"}, {ID: layer, Status: "Pushing"}, {ID: layer, Status: "Pushed"},
				{Status: "1: digest: " + img.Manifest.String() + " size: "},
			} {
				if !seen.has(want.ID, want.Status) {
					t.Errorf("the push did not say %+v", want)
				}
			}
			if seen := push("/demo:1"); !seen.has(layer, "Layer already exists") || seen.has(layer, "Pushing") {
				t.Error("what was there was pushed again")
			}
			if seen := push("/team/other:2"); !seen.has(layer, "Mounted from demo") || seen.has(layer, "Pushing") {
				t.Errorf("what a neighbour has was pushed: %v", seen.all)
			}
			for _, name := range []string{"/demo:1", "/team/other:2"} {
				if got, err := to.Pull(t.Context(), r.host+name, PullOptions{}); err != nil || got.ID != img.ID || got.Manifest != img.Manifest {
					t.Errorf("pulled %s %s, %v; want %s %s", got.ID, got.Manifest, err, img.ID, img.Manifest)
				}
			}
			wantComplete(t, to)
			if again, err := from.Get(img.ID.String()); err != nil || !slices.Contains(again.Digests, r.host+"/demo@"+img.Manifest.String()) {
				t.Errorf("after the push its names by digest are %q, %v", again.Digests, err)
			}
		})
	}
}

func TestPushRefuses(t *testing.T) {
	s, _ := openStore(t)
	img := create(t, s, "127.0.0.1:1/demo:1", [2]string{"a", "1"})
	_, err := s.Push(t.Context(), "127.0.0.1:1/demo:1", PushOptions{})
	wantError(t, err, "push 127.0.0.1:1/demo:1", "connection refused")
	_, err = s.Push(t.Context(), "nobody/knows:1", PushOptions{})
	wantError(t, err, "An image does not exist locally with the tag: nobody/knows")
	if !errdefs.IsNotFound(err) {
		t.Errorf("%v is not NotFound", err)
	}
	_, err = s.Push(t.Context(), "demo@"+img.Manifest.String(), PushOptions{})
	wantError(t, err, "an image is pushed by a tag")
}

func TestTransient(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{&StatusError{StatusCode: 503}, true},
		{&StatusError{StatusCode: 429, RetryAfter: time.Second}, true},
		{&StatusError{StatusCode: 429, RetryAfter: time.Hour}, false},
		{&StatusError{StatusCode: 404}, false},
		{&StatusError{StatusCode: 501}, false},
		{errBroken, true},
		{errors.New("x"), false},
	} {
		if got := transient(tt.err); got != tt.want {
			t.Errorf("transient(%#v) = %v", tt.err, got)
		}
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "3": 3 * time.Second, "-1": 0, "soon": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute,
		now.Add(-time.Hour).Format(http.TimeFormat):  0,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("retryAfter(%q) = %v, want %v", value, got, want)
		}
	}
}

// A registry that is busy is asked again; that the answer was 503 twice is not
// the user's business.
func TestPullFromABusyRegistry(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	r.put("demo", "1", gzipLayer(t, "a", "1"))
	left := map[string]int{}
	r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		r.mu.Lock()
		if _, ok := left[req.URL.Path]; !ok {
			left[req.URL.Path] = 2
		}
		left[req.URL.Path]--
		busy := left[req.URL.Path] >= 0 && req.URL.Path != "/v2/"
		r.mu.Unlock()
		if !busy {
			next.ServeHTTP(w, req)
		} else if strings.Contains(req.URL.Path, "/manifests/") {
			w.WriteHeader(http.StatusServiceUnavailable)
		} else {
			panic(http.ErrAbortHandler) // the connection ends without an answer
		}
	}
	if _, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	wantComplete(t, s)
}

// A network that cuts every transfer after 64 KiB costs time, and nothing else.
func TestPullGoesOnAfterCuts(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	l := plainLayer(t, "big", noise(1<<20))
	r.put("demo", "1", l)
	r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if !strings.HasSuffix(req.URL.Path, l.digest().String()) {
			next.ServeHTTP(w, req)
			return
		}
		next.ServeHTTP(&cutting{w, 64 << 10}, req)
	}
	if _, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	wantComplete(t, s)
	if n, want := r.fetched(l.digest()), len(l.blob)>>16+1; n != want {
		t.Errorf("the layer came in %d pieces, want %d", n, want)
	}
}

// cutting ends the connection after some bytes.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if c.left == 0 {
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	sent := min(len(p), c.left)
	c.left -= sent
	n, err := c.ResponseWriter.Write(p[:sent])
	if err == nil && sent < len(p) {
		return c.Write(p[sent:])
	}
	return n, err
}
