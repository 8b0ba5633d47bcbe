//go:build exercise || solution

package byhand

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"testing"
)

const manifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}`

func TestScript(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip(err)
	}
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if service := r.URL.Query().Get("service"); service != "the class & co" {
			t.Errorf("the token was asked for with service %q. Is the value that the registry named encoded for a URL?", service)
		}
		if scope := r.URL.Query().Get("scope"); scope != "repository:team/demo:pull" {
			t.Errorf("the token was asked for with scope %q", scope)
		}
		fmt.Fprint(w, `{"expires_in": 60, "token": "t0k3n"}`)
	}))
	defer tokens.Close()
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer t0k3n":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+tokens.URL+`/token",service="the class & co",scope="repository:team/demo:pull"`)
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`)
		case r.URL.Path != "/v2/team/demo/manifests/v1":
			w.WriteHeader(http.StatusNotFound)
		default:
			fmt.Fprint(w, manifest)
		}
	}))
	defer registry.Close()
	out, err := exec.Command("/bin/sh", "-c", Script, "sh", registry.URL, "team/demo", "v1").Output()
	if err != nil || string(out) != manifest {
		t.Errorf("the script printed %q, %v. Was there an Authorization header?", out, err)
	}
	if out, err := exec.Command("/bin/sh", "-c", Script, "sh", registry.URL, "team/demo", "v2").Output(); err == nil {
		t.Errorf("for a tag that is not there the script printed %q and said that all is well: see curl --fail", out)
	}
}
