package registry

import (
	"bufio"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// Htpasswd knows users and the bcrypt hashes of their passwords, as written by
// `htpasswd -B`.
type Htpasswd struct {
	hashes map[string][]byte
	absent []byte // a hash that no password has

	// bcrypt is slow on purpose, and a push is hundreds of requests: a pair
	// that was right once is remembered by a keyed hash that is worth nothing elsewhere.
	key   [32]byte
	mu    sync.Mutex
	right map[[32]byte]bool
}

// ReadHtpasswd reads a file of lines USER:HASH; empty lines and those that
// begin with # are passed over. Hashes other than bcrypt are an error.
func ReadHtpasswd(path string) (*Htpasswd, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := &Htpasswd{hashes: make(map[string][]byte), right: make(map[[32]byte]bool)}
	rand.Read(h.key[:])
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		if !ok || user == "" {
			return nil, fmt.Errorf("%s:%d: not USER:HASH", path, n)
		}
		if _, err := bcrypt.Cost([]byte(hash)); err != nil {
			return nil, fmt.Errorf("%s:%d: the hash of %s is not bcrypt's (htpasswd -B): %w", path, n, user, err)
		}
		h.hashes[user] = []byte(hash)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	h.absent, err = bcrypt.GenerateFromPassword([]byte(rand.Text()), bcrypt.DefaultCost)
	return h, err
}

// knows says whether the password is the user's.
func (h *Htpasswd) knows(user, password string) bool {
	mac := hmac.New(sha256.New, h.key[:])
	fmt.Fprintf(mac, "%d:%s%s", len(user), user, password)
	pair := [32]byte(mac.Sum(nil))
	h.mu.Lock()
	known := h.right[pair]
	h.mu.Unlock()
	if known {
		return true
	}
	hash, ok := h.hashes[user]
	if !ok {
		hash = h.absent // as much work as for a user who exists: time tells nothing
	}
	if bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil || !ok {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.right[pair] = true
	return true
}

// Guard lets only known users through to next (RFC 7617).
func (h *Htpasswd) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); ok && h.knows(user, password) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="drydock", charset="UTF-8"`)
		w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": []any{
			map[string]string{"code": "UNAUTHORIZED", "message": "authentication required"},
		}}) // a client that has left reads nothing
	})
}
