//go:build linux

package images

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// Registries says how registries are reached where their names do not say
// enough. The zero value has nothing to say: TLS with the machine's
// certificates, and plain text on loopback addresses only.
type Registries struct {
	// Insecure are the registries that are spoken to without TLS, or without
	// a check of their certificate, where that is needed: HOST, HOST:PORT, or
	// addresses as in 10.0.0.0/8.
	Insecure []string `json:"insecure"`

	// Mirrors are asked first, in order, for what is pulled from a registry:
	// by its name (docker.io), each https://HOST[:PORT] or http://HOST[:PORT].
	Mirrors map[string][]string `json:"mirrors"`

	// Certs is a directory with one below it for each server that is special,
	// HOST or HOST:PORT. There *.crt are the authorities that its certificate
	// may be from, besides the machine's, and *.cert with *.key what we show.
	// Docker has the same in /etc/docker/certs.d.
	Certs string `json:"-"`

	// Credentials says who we are to a mirror; nil: nobody.
	Credentials func(ctx context.Context, host string) (Credentials, error) `json:"-"`
}

// ReadRegistries reads registries.json in a directory of configuration, which
// has the fields of [Registries], and takes certs.d/ there for the
// certificates. Neither needs to be there.
func ReadRegistries(dir string) (Registries, error) {
	r := Registries{Certs: filepath.Join(dir, "certs.d"), Credentials: DockerCredentials}
	path := filepath.Join(dir, "registries.json")
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	} else if err != nil {
		return r, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields() // a setting that is misspelled would be one that is not there
	if err := d.Decode(&r); err != nil {
		return r, errorf(errdefs.ErrInvalidArgument, "%s: %w", path, err)
	}
	for _, of := range r.Mirrors {
		for _, mirror := range of {
			if _, err := parseMirror(mirror); err != nil {
				return r, errorf(errdefs.ErrInvalidArgument, "%s: %w", path, err)
			}
		}
	}
	return r, nil
}

func parseMirror(mirror string) (*url.URL, error) {
	u, err := url.Parse(mirror)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.User != nil {
		return nil, errorf(errdefs.ErrInvalidArgument, "mirror %q: want https://HOST[:PORT] or http://HOST[:PORT]", mirror)
	}
	return u, nil
}

// isInsecure says whether a server was declared insecure, or is this machine:
// traffic to a loopback address cannot be listened to by others.
func (r Registries) isInsecure(host string) bool {
	if slices.Contains(r.Insecure, host) {
		return true
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	if host == "localhost" || ip != nil && ip.IsLoopback() {
		return true
	}
	return slices.ContainsFunc(r.Insecure, func(declared string) bool {
		_, network, err := net.ParseCIDR(declared)
		return declared == host || err == nil && network.Contains(ip)
	})
}

// tlsConfig returns what TLS with a server takes. A server that has authorities
// of its own is checked, also where it was declared insecure.
func (r Registries) tlsConfig(host string, insecure bool) (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: insecure || r.isInsecure(host)}
	if r.Certs == "" {
		return config, nil
	}
	dir := filepath.Join(r.Certs, host)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return config, nil
	} else if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		switch filepath.Ext(name) {
		case ".crt":
			if config.RootCAs == nil {
				if config.RootCAs, err = x509.SystemCertPool(); err != nil {
					return nil, err
				}
			}
			pem, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			if !config.RootCAs.AppendCertsFromPEM(pem) {
				return nil, errorf(errdefs.ErrInvalidArgument, "%s has no certificate in PEM", name)
			}
			config.InsecureSkipVerify = insecure
		case ".cert":
			key := strings.TrimSuffix(name, ".cert") + ".key"
			pair, err := tls.LoadX509KeyPair(name, key)
			if err != nil {
				return nil, errorf(errdefs.ErrInvalidArgument, "%s with its key %s: %w", name, key, err)
			}
			config.Certificates = append(config.Certificates, pair)
		}
	}
	return config, nil
}
