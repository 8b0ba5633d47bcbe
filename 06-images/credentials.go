package images

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
)

// Credentials are what a registry, or the server that gives out its tokens,
// knows a user by. The zero value is nobody.
type Credentials struct {
	Username, Password string
	IdentityToken      string // what a token server gave out at the login in place of the password
	RegistryToken      string // sent to the registry as it is
}

// dockerLogins is what we read of Docker's config.json.
type dockerLogins struct {
	Auths map[string]struct {
		Auth          string `json:"auth"` // base64 of user:password
		Username      string `json:"username"`
		Password      string `json:"password"`
		IdentityToken string `json:"identitytoken"`
		RegistryToken string `json:"registrytoken"`
	} `json:"auths"`
	CredHelpers map[string]string `json:"credHelpers"` // by registry
	CredsStore  string            `json:"credsStore"`  // for all others
}

// DockerCredentials returns what `docker login` has stored for a registry: with
// the credential helper that config.json names for it (in $DOCKER_CONFIG, else
// in ~/.docker), or in that file. It is the zero value where there is nothing.
func DockerCredentials(ctx context.Context, domain string) (Credentials, error) {
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
	var file dockerLogins
	if err := json.Unmarshal(raw, &file); err != nil {
		return Credentials{}, errorf(errdefs.ErrInvalidArgument, "%s: %w", path, err)
	}

	key, keys := domain, []string{domain, "https://" + domain, "http://" + domain}
	if domain == "docker.io" {
		key = "https://index.docker.io/v1/" // its name of 2013, by which docker login stores it
		keys = append(keys, key, "index.docker.io")
	}
	for _, k := range keys {
		if helper := file.CredHelpers[k]; helper != "" {
			return askHelper(ctx, helper, key)
		}
	}
	if file.CredsStore != "" {
		return askHelper(ctx, file.CredsStore, key)
	}
	for _, k := range keys {
		entry, ok := file.Auths[k]
		if !ok {
			continue
		}
		c := Credentials{entry.Username, entry.Password, entry.IdentityToken, entry.RegistryToken}
		if entry.Auth == "" {
			return c, nil
		}
		pair, err := base64.StdEncoding.DecodeString(entry.Auth)
		user, password, ok := strings.Cut(string(pair), ":")
		if err != nil || !ok {
			return Credentials{}, errorf(errdefs.ErrInvalidArgument, "%s: auths[%q].auth is not base64 of user:password", path, k)
		}
		c.Username, c.Password = user, strings.TrimRight(password, "\x00")
		return c, nil
	}
	return Credentials{}, nil
}

// askHelper asks the program docker-credential-NAME, which knows the desktop's
// or the cloud's way to keep secrets, what it has for a server. The server goes
// in on standard input, JSON or a reason comes out on standard output.
// Source: github.com/docker/docker-credential-helpers, README, "Development".
func askHelper(ctx context.Context, name, server string) (Credentials, error) {
	program := "docker-credential-" + name
	if strings.ContainsRune(name, '/') {
		return Credentials{}, errorf(errdefs.ErrInvalidArgument, "credential helper %q: want the name of a program in $PATH without its docker-credential-", name)
	}
	cmd := exec.CommandContext(ctx, program, "get")
	cmd.Stdin = strings.NewReader(server)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		said := strings.TrimSpace(string(out) + " " + stderr.String())
		if strings.Contains(said, "credentials not found") {
			return Credentials{}, nil
		}
		// What came out is a reason: secrets come with the status 0 only.
		return Credentials{}, errorf(errdefs.ErrUnauthenticated, "credential helper %s, asked for %s: %w: %.300s", program, server, err, said)
	}
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return Credentials{}, errorf(errdefs.ErrUnauthenticated, "credential helper %s, asked for %s: its answer is not JSON", program, server)
	}
	if answer.Username == "<token>" {
		return Credentials{IdentityToken: answer.Secret}, nil
	}
	return Credentials{Username: answer.Username, Password: answer.Secret}, nil
}
