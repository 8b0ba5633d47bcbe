//go:build linux

package images

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"
)

// A registry with a token server: the token is asked for once, with the scope
// of the repository, and again when it has expired.
func TestPullWithToken(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	r.put("team/demo", "1", gzipLayer(t, "a", "1"), gzipLayer(t, "b", "2"))
	var issued, used atomic.Int32
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		user, password, _ := req.BasicAuth()
		q := req.URL.Query()
		if user != "ann" || password != "s3cret" || q.Get("scope") != "repository:team/demo:pull" || q.Get("service") != "reg, istry" {
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "who are you")
			return
		}
		fmt.Fprintf(w, `{"token":"token-%d"}`, issued.Add(1))
	}))
	defer tokens.Close()
	r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		n := issued.Load()
		if req.Header.Get("Authorization") == fmt.Sprintf("Bearer token-%d", n) && n > 0 {
			// The first token expires after two requests.
			if used.Add(1) != 3 {
				next.ServeHTTP(w, req)
				return
			}
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+tokens.URL+`/token",service="reg, istry",scope="repository:team/demo:pull"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	}
	name := r.host + "/team/demo:1"
	if _, err := s.Pull(t.Context(), name, PullOptions{Credentials: Credentials{Username: "ann", Password: "s3cret"}}); err != nil {
		t.Fatal(err)
	}
	if n := issued.Load(); n != 2 {
		t.Errorf("%d tokens were asked for, want 2", n)
	}
	_, err := s.Pull(t.Context(), name, PullOptions{Credentials: Credentials{Username: "ann", Password: "wrong"}})
	wantError(t, err, "pull access denied for "+r.host+"/team/demo, repository does not exist or may require 'docker login'", "unauthorized: who are you")
	if !errdefs.IsUnauthorized(err) {
		t.Errorf("%v is not Unauthenticated", err)
	}
}

func TestPullWithPassword(t *testing.T) {
	s, dir := openStore(t)
	r := newRegistry(t)
	r.put("demo", "1", gzipLayer(t, "a", "1"))
	r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if user, password, _ := req.BasicAuth(); user == "ann" && password == "s3:cret" {
			next.ServeHTTP(w, req)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="demo"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	}
	for _, c := range []Credentials{{}, {Username: "ann", Password: "wrong"}} {
		_, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{Credentials: c})
		wantError(t, err, "pull access denied for "+r.host+"/demo", "unauthorized: authentication required")
		if strings.Contains(err.Error(), "wrong") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
	wantNothing(t, s, dir)
	for password, want := range map[string]string{"s3:cret": "", "wrong": "login at " + r.host + ": unauthorized: authentication required", "": "unauthorized"} {
		err := Login(t.Context(), r.host, ConnectOptions{Credentials: Credentials{Username: "ann", Password: password}})
		if want != "" {
			wantError(t, err, want)
		} else if err != nil {
			t.Error(err)
		}
	}

	home := t.TempDir()
	t.Setenv("DOCKER_CONFIG", home)
	file := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.host, base64.StdEncoding.EncodeToString([]byte("ann:s3:cret")))
	if err := os.WriteFile(filepath.Join(home, "config.json"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := DockerCredentials(t.Context(), r.host)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{Credentials: c}); err != nil {
		t.Fatal(err)
	}
}

// The registry sends us to another server for its blobs. That server gets the
// question and not the password, although it has the same host name: another
// port is another server.
func TestRedirectDoesNotCarryCredentials(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	l := gzipLayer(t, "a", noise(1000))
	r.put("demo", "1", l)
	asked := make(chan string, 1)
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked <- req.Header.Get("Authorization")
		w.Write(l.blob)
	}))
	defer storage.Close()
	r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		switch _, _, known := req.BasicAuth(); {
		case !known:
			w.Header().Set("WWW-Authenticate", `Basic realm="demo"`)
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasSuffix(req.URL.Path, "/blobs/"+l.digest().String()):
			http.Redirect(w, req, storage.URL+"/bucket", http.StatusTemporaryRedirect)
		default:
			next.ServeHTTP(w, req)
		}
	}
	if _, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{Credentials: Credentials{Username: "ann", Password: "s3cret"}}); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != "" {
		t.Errorf("the other server was told %q", got)
	}
}

func TestParseChallenge(t *testing.T) {
	tests := []struct {
		value, scheme string
		params        map[string]string
	}{
		{`Bearer realm="https://auth/token",service="a, b",scope="repository:x:pull,push"`, "bearer",
			map[string]string{"realm": "https://auth/token", "service": "a, b", "scope": "repository:x:pull,push"}},
		{`BASIC Realm=plain , charset="UTF-8"`, "basic", map[string]string{"realm": "plain", "charset": "UTF-8"}},
		{`Bearer realm="with \"quotes\""`, "bearer", map[string]string{"realm": `with "quotes"`}},
		{`Negotiate`, "negotiate", map[string]string{}},
		{`Bearer realm="never ends`, "bearer", map[string]string{"realm": "never ends"}},
	}
	for _, tt := range tests {
		scheme, params := parseChallenge(tt.value)
		if scheme != tt.scheme || !reflect.DeepEqual(params, tt.params) {
			t.Errorf("parseChallenge(%q) = %q, %q", tt.value, scheme, params)
		}
	}
}

// Wherever the registry sends us, a server there that asks who we are has no
// right to know: its realm would get the password.
func TestRedirectTargetThatAsksWhoWeAre(t *testing.T) {
	s, dir := openStore(t)
	r := newRegistry(t)
	l := gzipLayer(t, "a", noise(1000))
	r.put("demo", "1", l)
	evil := httptest.NewServer(nil)
	defer evil.Close()
	evil.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if user, password, ok := req.BasicAuth(); ok {
			t.Errorf("%s was told %s:%s", req.URL, user, password)
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+evil.URL+`/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if strings.HasSuffix(req.URL.Path, "/blobs/"+l.digest().String()) {
			http.Redirect(w, req, evil.URL+"/bucket", http.StatusTemporaryRedirect)
			return
		}
		next.ServeHTTP(w, req)
	}
	_, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{Credentials: Credentials{Username: "ann", Password: "s3cret"}})
	wantError(t, err, "401 Unauthorized")
	wantNothing(t, s, dir)
}

// What was asked over TLS is not answered without.
func TestRedirectWithoutTLS(t *testing.T) {
	from, err := http.NewRequest(http.MethodGet, "https://registry.test/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{"http://storage.test/x": "registry.test redirects to storage.test, without TLS", "https://storage.test/x": ""} {
		req, err := http.NewRequest(http.MethodGet, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkRedirect(req, []*http.Request{from}); want != "" {
			wantError(t, err, want)
		} else if err != nil {
			t.Error(err)
		}
	}
}
