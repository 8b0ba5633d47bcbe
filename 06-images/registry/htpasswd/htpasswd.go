// Package htpasswd asks the clients of an HTTP server who they are, by a file of
// users and bcrypt hashes as Apache's htpasswd -B writes it. Without TLS the
// passwords travel in the clear.
package htpasswd

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

// Users knows users and the hashes of their passwords.
type Users struct {
	hashes map[string][]byte
	absent []byte // a hash that no password has

	// bcrypt is slow on purpose, and a push is hundreds of requests: a pair
	// that was right once is remembered by a keyed hash that is worth nothing elsewhere.
	key   [32]byte
	mu    sync.Mutex
	right map[[32]byte]bool
}

// Read reads a file of lines USER:HASH; empty lines and those that
// begin with # are passed over. Hashes other than bcrypt are an error.
func Read(path string) (*Users, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	u := &Users{hashes: make(map[string][]byte), right: make(map[[32]byte]bool)}
	rand.Read(u.key[:])
	cost := bcrypt.MinCost
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
		c, err := bcrypt.Cost([]byte(hash))
		if err != nil {
			return nil, fmt.Errorf("%s:%d: the hash of %s is not bcrypt's (htpasswd -B): %w", path, n, user, err)
		}
		u.hashes[user] = []byte(hash)
		cost = max(cost, c)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	u.absent, err = bcrypt.GenerateFromPassword([]byte(rand.Text()), cost)
	return u, err
}

// knows says whether the password is the user's.
func (u *Users) knows(user, password string) bool {
	mac := hmac.New(sha256.New, u.key[:])
	fmt.Fprintf(mac, "%d:%s%s", len(user), user, password)
	pair := [32]byte(mac.Sum(nil))
	u.mu.Lock()
	known := u.right[pair]
	u.mu.Unlock()
	if known {
		return true
	}
	hash, ok := u.hashes[user]
	if !ok {
		hash = u.absent // as much work as for a user who exists: time tells nothing
	}
	if bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil || !ok {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.right[pair] = true
	return true
}

// Guard lets only known users through to next (RFC 7617).
func (u *Users) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); ok && u.knows(user, password) {
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
