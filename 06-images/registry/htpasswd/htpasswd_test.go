package htpasswd

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func TestGuard(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "htpasswd")
	write := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# users\n\nann:" + string(hash) + "\n")
	users, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	guarded := users.Guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	for _, tt := range []struct {
		user, password string
		status         int
	}{
		{"ann", "secret", 204}, {"ann", "secret", 204}, {"ann", "wrong", 401}, {"bob", "secret", 401}, {"", "", 401}, {"anns", "ecret", 401},
	} {
		r := httptest.NewRequest("GET", "/v2/", nil)
		if tt.user != "" {
			r.SetBasicAuth(tt.user, tt.password)
		}
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("%s:%s: status %d, want %d", tt.user, tt.password, w.Code, tt.status)
		}
		if w.Code == 401 && (!strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic realm=") || !strings.Contains(w.Body.String(), "UNAUTHORIZED")) {
			t.Errorf("401 with %v and %s", w.Header(), w.Body)
		}
	}
	for text, want := range map[string]string{
		"ann":           ":1: not USER:HASH",
		"ann:$apr1$x$y": ":1: the hash of ann is not bcrypt's",
		"ann:" + string(hash) + "\nbob:plaintext": ":2: the hash of bob is not bcrypt's",
	} {
		write(text)
		if _, err := Read(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
