//go:build linux

package images

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// Each test here is an entry of docs/error-atlas.md: the failure, and its cure.

// elsewhere is a registry's address as one that is not this machine's: what is
// let pass on 127.0.0.1 is not let pass there.
func elsewhere(host string) string {
	_, port, _ := net.SplitHostPort(host) // httptest's, which has one
	return "0.0.0.0:" + port
}

// pulls fails unless a pull succeeds.
func pulls(t *testing.T, s *Store, name string, opt PullOptions) {
	t.Helper()
	if _, err := s.Pull(t.Context(), name, opt); err != nil {
		t.Errorf("the cure does not help: %v", err)
	}
}

func TestAtlasRegistryWithoutTLS(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	r.put("demo", "1", plainLayer(t, "a", "1"))
	name := elsewhere(r.host) + "/demo:1"
	_, err := s.Pull(t.Context(), name, PullOptions{})
	wantError(t, err, "http: server gave HTTP response to HTTPS client")
	pulls(t, s, name, PullOptions{Registries: Registries{Insecure: []string{elsewhere(r.host)}}})
}

func TestAtlasUnknownAuthority(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	r.put("demo", "1", plainLayer(t, "a", "1"))
	a := newAuthority(t)
	cert, key := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "registry"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4zero}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.key)
	host := elsewhere(a.serveTLS(r, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}))
	certs := t.TempDir()
	opt := PullOptions{Registries: Registries{Certs: certs}}
	_, err := s.Pull(t.Context(), host+"/demo:1", opt)
	wantError(t, err, "x509: certificate signed by unknown authority")
	a.write(filepath.Join(certs, host, "ca.crt"), "CERTIFICATE", a.cert.Raw)
	pulls(t, s, host+"/demo:1", opt)
}

func TestAtlasAccessDenied(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	r.put("demo", "1", plainLayer(t, "a", "1"))
	r.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if _, password, _ := req.BasicAuth(); password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="class"`)
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
			return
		}
		next.ServeHTTP(w, req)
	}
	for _, name := range []string{"/demo:1", "/nosuch:1"} { // who may not look is not told which of the two it is
		_, err := s.Pull(t.Context(), r.host+name, PullOptions{})
		wantError(t, err, "pull access denied for "+r.host+strings.TrimSuffix(name, ":1")+", repository does not exist or may require 'docker login'")
	}
	pulls(t, s, r.host+"/demo:1", PullOptions{Credentials: Credentials{Username: "ann", Password: "secret"}})
}

func TestAtlasManifestUnknown(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	r.put("demo", "1.2", plainLayer(t, "a", "1"))
	_, err := s.Pull(t.Context(), r.host+"/demo", PullOptions{})
	wantError(t, err, "manifest for "+r.host+"/demo:latest not found: manifest unknown")
	resp, err := http.Get("http://" + r.host + "/v2/demo/tags/list")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if tags, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(tags), `"1.2"`) {
		t.Errorf("the tags are %s, %v", tags, err)
	}
	pulls(t, s, r.host+"/demo:1.2", PullOptions{})
}

func TestAtlasNoMatchingManifest(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	l := plainLayer(t, "a", "1")
	desc := r.putConfig("demo", "", configFor("linux/s390x", l), l)
	desc.Platform = &ocispec.Platform{OS: "linux", Architecture: "s390x"}
	r.putManifest("demo", "1", ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{desc},
	})
	_, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{})
	wantError(t, err, "no matching manifest for "+FormatPlatform(HostPlatform())+" in the manifest list entries", "linux/s390x")
	pulls(t, s, r.host+"/demo:1", PullOptions{Platform: desc.Platform})
}

func TestAtlasTooManyRequests(t *testing.T) {
	s, _ := openStore(t)
	hub, class := newRegistry(t), newRegistry(t)
	class.put("demo", "1", plainLayer(t, "a", "1"))
	hub.fault = func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Retry-After", "21600")
		refuse(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "You have reached your pull rate limit.")
	}
	_, err := s.Pull(t.Context(), hub.host+"/demo:1", PullOptions{})
	wantError(t, err, "toomanyrequests: You have reached your pull rate limit.")
	pulls(t, s, hub.host+"/demo:1", PullOptions{Registries: Registries{Mirrors: map[string][]string{hub.host: {"http://" + class.host}}}})
}

func TestAtlasPullOntoAFullDisk(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := openStoreIn(t, dir)
	r := newRegistry(t)
	r.put("demo", "1", plainLayer(t, "a", noise(1_000_000)))
	r.put("demo", "2", plainLayer(t, "b", noise(1_100_000)))
	pulls(t, s, r.host+"/demo:1", PullOptions{})
	_, err := s.Pull(t.Context(), r.host+"/demo:2", PullOptions{}) // blob and files: twice the size
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%v; want ENOSPC", err)
	}
	if _, _, _, err := s.Prune(t.Context(), func(img Image) bool { return true }); err != nil {
		t.Fatal(err)
	}
	pulls(t, s, r.host+"/demo:2", PullOptions{})
}

func TestAtlasRequestEntityTooLarge(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	front := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.host})
	front.ErrorLog = log.New(io.Discard, "", 0)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.ContentLength > 1<<20 { // nginx's client_max_body_size
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		front.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	create(t, s, host+"/demo:1", [2]string{"a", noise(2_000_000)})
	_, err := s.Push(t.Context(), host+"/demo:1", PushOptions{})
	wantError(t, err, "413 Request Entity Too Large")
	if _, err := s.Push(t.Context(), host+"/demo:1", PushOptions{Chunk: 1 << 20}); err != nil {
		t.Errorf("the cure does not help: %v", err)
	}
}

func TestAtlasDamagedBlob(t *testing.T) {
	s, dir := openStore(t)
	r := newRegistry(t)
	l := gzipLayer(t, "a", noise(10_000))
	r.put("demo", "1", l)
	r.onBlob("/blobs/"+l.digest().String(), func(w http.ResponseWriter, body []byte) {
		body[len(body)/2] ^= 1
		w.Write(body)
	})
	_, err := s.Pull(t.Context(), r.host+"/demo:1", PullOptions{})
	wantError(t, err, "blob does not match its digest: want "+l.digest().String())
	wantNothing(t, s, dir)
	// The digest in the message is what to ask for by hand.
	resp, err := http.Get(fmt.Sprintf("http://%s/v2/demo/blobs/%s", r.host, l.digest()))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || l.digest().Algorithm().FromBytes(b) == l.digest() {
		t.Errorf("what the registry sends is right (%v)", err)
	}
	r.fault = nil
	pulls(t, s, r.host+"/demo:1", PullOptions{})
}
