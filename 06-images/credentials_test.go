//go:build linux

package images

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

// dockerConfigFile makes content be Docker's config.json.
func dockerConfigFile(t *testing.T, content string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
}

// vault puts the credential helper of testdata into $PATH, with what it knows.
func vault(t *testing.T, knows string) {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", dir, "./testdata/docker-credential-vault").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	file := filepath.Join(dir, "vault.json")
	if err := os.WriteFile(file, []byte(knows), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VAULT", file)
}

func TestDockerCredentials(t *testing.T) {
	vault(t, `{
		"helped.test": {"ServerURL": "helped.test", "Username": "ann", "Secret": "from the helper"},
		"https://index.docker.io/v1/": {"Username": "hub", "Secret": "hubsecret"},
		"cloud.test:5000": {"Username": "<token>", "Secret": "refresh-me"},
		"odd.test": "not an object"
	}`)
	auth := base64.StdEncoding.EncodeToString([]byte("bob:pass:word"))
	const helpers = `"credHelpers": {"helped.test": "vault", "cloud.test:5000": "vault", "empty.test": "vault", "odd.test": "vault", "gone.test": "nosuch", "path.test": "../vault"}`
	file := fmt.Sprintf(`{"auths": {
		"plain.test": {"auth": %q},
		"https://old.test": {"username": "old", "password": "pw"},
		"token.test": {"auth": %q, "identitytoken": "identity"},
		"bearer.test": {"registrytoken": "bearer"},
		"helped.test": {"auth": %q},
		"bad.test": {"auth": "!"}}, %s}`, auth, auth, auth, helpers)
	stored := fmt.Sprintf(`{"auths": {"plain.test": {}, "helped.test": {}}, "credsStore": "vault", %s}`, helpers)
	bob := Credentials{Username: "bob", Password: "pass:word"}
	for _, tt := range []struct {
		config, domain string
		want           Credentials
		wrong          string
	}{
		{config: file, domain: "plain.test", want: bob},
		{config: file, domain: "old.test", want: Credentials{Username: "old", Password: "pw"}},
		{config: file, domain: "token.test", want: Credentials{Username: "bob", Password: "pass:word", IdentityToken: "identity"}},
		{config: file, domain: "bearer.test", want: Credentials{RegistryToken: "bearer"}},
		{config: file, domain: "helped.test", want: Credentials{Username: "ann", Password: "from the helper"}}, // the helper's word counts
		{config: file, domain: "cloud.test:5000", want: Credentials{IdentityToken: "refresh-me"}},
		{config: file, domain: "empty.test"},
		{config: file, domain: "other.test"},
		{config: file, domain: "docker.io"},
		{config: stored, domain: "docker.io", want: Credentials{Username: "hub", Password: "hubsecret"}},
		{config: stored, domain: "plain.test"},
		{config: file, domain: "bad.test", wrong: `auths["bad.test"].auth is not base64 of user:password`},
		{config: file, domain: "odd.test", wrong: "credential helper docker-credential-vault, asked for odd.test: its answer is not JSON"},
		{config: file, domain: "gone.test", wrong: `credential helper docker-credential-nosuch, asked for gone.test: exec: "docker-credential-nosuch": executable file not found in $PATH`},
		{config: file, domain: "path.test", wrong: `credential helper "../vault": want the name of a program`},
		{config: "{", domain: "plain.test", wrong: "config.json: unexpected end of JSON input"},
	} {
		dockerConfigFile(t, tt.config)
		got, err := DockerCredentials(t.Context(), tt.domain)
		if tt.wrong != "" {
			wantError(t, err, tt.wrong)
		} else if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", tt.domain, got, err, tt.want)
		}
	}
	t.Setenv("VAULT", "/nonexistent")
	dockerConfigFile(t, file)
	_, err := DockerCredentials(t.Context(), "helped.test")
	wantError(t, err, "credential helper docker-credential-vault, asked for helped.test: exit status 1: the vault is locked")
	if !errdefs.IsUnauthorized(err) {
		t.Errorf("%v is not Unauthenticated", err)
	}
}

// An identity token is exchanged for one that the registry takes; a registry
// token is that one already.
func TestPullWithTheTokensOfALogin(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	r.put("demo", "1", gzipLayer(t, "a", "1"))
	var grants []string
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, _, ok := req.BasicAuth(); ok || req.Method != http.MethodPost || req.FormValue("refresh_token") != "identity" {
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "who are you")
			return
		}
		grants = append(grants, req.PostForm.Encode())
		fmt.Fprint(w, `{"access_token":"access","expires_in":300}`)
	}))
	defer tokens.Close()
	r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if req.Header.Get("Authorization") == "Bearer access" {
			next.ServeHTTP(w, req)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+tokens.URL+`/token",service="registry"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	}
	name := r.host + "/demo:1"
	for _, c := range []Credentials{{Username: "ann", IdentityToken: "identity"}, {RegistryToken: "access"}} {
		if _, err := s.Pull(t.Context(), name, PullOptions{Credentials: c}); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	want := "client_id=drydock&grant_type=refresh_token&refresh_token=identity&scope=repository%3Ademo%3Apull&service=registry"
	if len(grants) != 1 || grants[0] != want {
		t.Errorf("the token server was asked %q, want once %q", grants, want)
	}
	for _, c := range []Credentials{{IdentityToken: "revoked"}, {RegistryToken: "expired"}} {
		_, err := s.Pull(t.Context(), name, PullOptions{Credentials: c})
		wantError(t, err, "pull access denied for "+r.host+"/demo", "unauthorized: ")
		if strings.Contains(err.Error(), "revoked") || strings.Contains(err.Error(), "expired") {
			t.Errorf("the error tells the token: %v", err)
		}
	}
}
