//go:build linux

package cli_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

// A registry with a password: docker login asks the daemon whether it is right
// and stores it, and both clients send it with a pull.
func TestLogin(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Overlay, hosttest.Program("docker"))
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	d := running(t)
	open := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: serveRegistry(t, filepath.Join(bin, "guests", "box"))})
	locked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "ann" || password != "s3cret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="class"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
			return
		}
		open.ServeHTTP(w, r)
	}))
	t.Cleanup(locked.Close)
	address := locked.Listener.Addr().String()
	config := t.TempDir()
	run := func(program string, stdin string, args ...string) (string, error) {
		t.Helper()
		cmd := exec.Command(program, append([]string{"-H", d.host}, args...)...)
		cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+config)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	clients := []string{"docker", filepath.Join(bin, "drydock")}
	for _, client := range clients {
		if out, err := run(client, "", "pull", address+"/tiny:1"); err == nil || !strings.Contains(out, "pull access denied for "+address+"/tiny") {
			t.Errorf("%s pull, as nobody: %v\n%s", client, err, out)
		}
	}
	login := []string{"login", "--username", "ann", "--password-stdin", address}
	if out, err := run("docker", "wrong", login...); err == nil || !strings.Contains(out, "unauthorized: authentication required") {
		t.Errorf("docker login with a wrong password: %v\n%s", err, out)
	}
	if out, err := run("docker", "s3cret", login...); err != nil || !strings.Contains(out, "Login Succeeded") {
		t.Fatalf("docker login: %v\n%s", err, out)
	}
	for _, client := range clients {
		if out, err := run(client, "", "pull", address+"/tiny:1"); err != nil {
			t.Errorf("%s pull, after the login: %v\n%s", client, err, out)
		}
	}
}
