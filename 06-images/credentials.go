package images

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
)

// Credentials are what a registry, or the server that gives out its tokens,
// knows a user by. The zero value is nobody.
type Credentials struct {
	Username, Password string
}

// DockerCredentials returns what `docker login` has stored for a registry in
// config.json (in $DOCKER_CONFIG, else in ~/.docker), and the zero value where
// there is nothing.
func DockerCredentials(domain string) (Credentials, error) {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return Credentials{}, nil // no home, no file
		}
		dir = filepath.Join(home, ".docker")
	}
	path := filepath.Join(dir, "config.json")
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Credentials{}, nil
	} else if err != nil {
		return Credentials{}, err
	}
	var file struct {
		Auths map[string]struct {
			Auth     string `json:"auth"` // base64 of user:password
			Username string `json:"username"`
			Password string `json:"password"`
		} `json:"auths"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return Credentials{}, errorf(errdefs.ErrInvalidArgument, "%s: %w", path, err)
	}
	keys := []string{domain, "https://" + domain, "http://" + domain}
	if domain == "docker.io" {
		keys = append(keys, "https://index.docker.io/v1/") // its name of 2013
	}
	for _, key := range keys {
		entry, ok := file.Auths[key]
		if !ok {
			continue
		}
		if entry.Auth == "" {
			return Credentials{entry.Username, entry.Password}, nil
		}
		pair, err := base64.StdEncoding.DecodeString(entry.Auth)
		user, password, ok := strings.Cut(string(pair), ":")
		if err != nil || !ok {
			return Credentials{}, errorf(errdefs.ErrInvalidArgument, "%s: auths[%q].auth is not base64 of user:password", path, key)
		}
		return Credentials{user, strings.TrimRight(password, "\x00")}, nil
	}
	return Credentials{}, nil
}
