//go:build linux

package images

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// authority makes certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the class"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	a.cert, a.key = a.sign(a.cert, nil)
	return a
}

// sign makes a certificate of a template, which signs itself where the
// authority has none yet.
func (a *authority) sign(template *x509.Certificate, parent *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if parent == nil {
		parent = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, parent)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// pair makes a certificate for names, of a server or a client.
func (a *authority) pair(names ...string) tls.Certificate {
	a.t.Helper()
	cert, key := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: names[0]}, NotAfter: time.Now().Add(time.Hour), DNSNames: names,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// write writes a PEM file.
func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// writePair writes client.cert and client.key.
func (a *authority) writePair(dir string, pair tls.Certificate) {
	a.t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(filepath.Join(dir, "client.cert"), "CERTIFICATE", pair.Certificate[0])
	a.write(filepath.Join(dir, "client.key"), "PRIVATE KEY", key)
}

// serveTLS puts TLS in front of a registry and returns the HOST:PORT of it.
func (a *authority) serveTLS(r *testRegistry, config *tls.Config) string {
	a.t.Helper()
	server := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.host}))
	server.TLS = config
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail are the test's purpose
	server.StartTLS()
	a.t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "https://")
}

func TestPullOverTLS(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	r.put("demo", "1", gzipLayer(t, "a", "1"))
	ours, strangers := newAuthority(t), newAuthority(t)
	clients := x509.NewCertPool()
	clients.AddCert(ours.cert)
	host := ours.serveTLS(r, &tls.Config{Certificates: []tls.Certificate{ours.pair("registry.test")}})
	careful := ours.serveTLS(r, &tls.Config{
		Certificates: []tls.Certificate{ours.pair("registry.test")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
	})
	certs := t.TempDir()
	pull := func(host string, insecure bool) error {
		t.Helper()
		_, err := s.Pull(t.Context(), host+"/demo:1", PullOptions{Registries: Registries{Certs: certs}, Insecure: insecure})
		return err
	}

	// 127.0.0.1 needs no certificate. One who says which it must be means it.
	if err := pull(host, false); err != nil {
		t.Error(err)
	}
	ca := filepath.Join(certs, host, "ca.crt")
	ours.write(ca, "CERTIFICATE", strangers.cert.Raw)
	wantError(t, pull(host, false), "x509: certificate signed by unknown authority", "put the certificate of its authority into "+ca)
	if err := pull(host, true); err != nil {
		t.Errorf("declared insecure: %v", err)
	}
	ours.write(ca, "CERTIFICATE", ours.cert.Raw)
	if err := pull(host, false); err != nil {
		t.Error(err)
	}

	ours.write(filepath.Join(certs, careful, "ca.crt"), "CERTIFICATE", ours.cert.Raw)
	wantError(t, pull(careful, false), "certificate required")
	ours.writePair(filepath.Join(certs, careful), strangers.pair("ann"))
	wantError(t, pull(careful, false), "tls: ")
	ours.writePair(filepath.Join(certs, careful), ours.pair("ann"))
	if err := pull(careful, false); err != nil {
		t.Error(err)
	}

	if err := os.Remove(filepath.Join(certs, careful, "client.key")); err != nil {
		t.Fatal(err)
	}
	wantError(t, pull(careful, false), "client.cert with its key", "client.key: no such file")
	if err := os.WriteFile(ca, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, pull(host, false), ca+" has no certificate in PEM")
}

// A name that is no loopback address, by way of a proxy: the proxy knows where it is,
// nobody else does.
func TestPullThroughAProxy(t *testing.T) {
	s, _ := openStore(t)
	r := newRegistry(t)
	r.put("demo", "1", gzipLayer(t, "a", noise(100_000)))
	ca := newAuthority(t)
	host := ca.serveTLS(r, &tls.Config{Certificates: []tls.Certificate{ca.pair("registry.test")}})
	var mu sync.Mutex
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		asked = append(asked, req.Method+" "+req.Host)
		mu.Unlock()
		if req.Header.Get("Proxy-Authorization") != "Basic YW5uOnBhc3M=" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if req.Method != http.MethodConnect { // plain HTTP: the proxy asks for us
			(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(&url.URL{Scheme: "http", Host: r.host}) }}).ServeHTTP(w, req)
			return
		}
		to, err := net.Dial("tcp", host)
		if err != nil {
			t.Error(err)
			return
		}
		defer to.Close()
		from, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer from.Close()
		io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		var both sync.WaitGroup
		both.Go(func() { io.Copy(to, from); to.(*net.TCPConn).CloseWrite() })
		both.Go(func() { io.Copy(from, to); from.(*net.TCPConn).CloseWrite() })
		both.Wait()
	}))
	defer proxy.Close()
	certs := t.TempDir()
	ca.write(filepath.Join(certs, "registry.test", "ca.crt"), "CERTIFICATE", ca.cert.Raw)
	registries := Registries{Certs: certs, Insecure: []string{"plain.test"}}
	address := strings.Replace(proxy.URL, "http://", "http://ann:pass@", 1)
	t.Setenv("HTTPS_PROXY", address)
	t.Setenv("HTTP_PROXY", address)
	for _, name := range []string{"registry.test/demo:1", "plain.test:80/demo:1"} {
		registries := registries
		if strings.HasPrefix(name, "plain") {
			t.Setenv("HTTPS_PROXY", "") // it has no TLS, and there is no proxy to try it with
		}
		if _, err := s.Pull(t.Context(), name, PullOptions{Registries: registries}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, want := range []string{"CONNECT registry.test:443", "GET plain.test:80"} {
		if !slices.Contains(asked, want) {
			t.Errorf("the proxy was asked %q, want %s", asked, want)
		}
	}
	t.Setenv("HTTPS_PROXY", address)
	t.Setenv("NO_PROXY", ".test")
	_, err := s.Pull(t.Context(), "registry.test/demo:1", PullOptions{Registries: registries})
	wantError(t, err, "pull registry.test/demo:1", "lookup registry.test")
}

func TestPullFromAMirror(t *testing.T) {
	here, mirror := newRegistry(t), newRegistry(t)
	both, only := gzipLayer(t, "both", noise(100_000)), gzipLayer(t, "only", "x")
	here.put("demo", "1", both)
	mirror.put("demo", "1", both)
	here.put("demo", "2", only)
	here.put("demo", "3", both, only)
	// The mirror has this one, and has it wrong.
	mirror.put("demo", "3", both, only)
	mirror.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if user, _, _ := req.BasicAuth(); user != "mirror" {
			w.Header().Set("WWW-Authenticate", `Basic realm="mirror"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if strings.HasSuffix(req.URL.Path, only.digest().String()) {
			w.Write(make([]byte, len(only.blob)))
			return
		}
		next.ServeHTTP(w, req)
	}
	here.fault = func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if user, _, _ := req.BasicAuth(); user == "mirror" {
			t.Error("the registry was shown the mirror's password")
		}
		next.ServeHTTP(w, req)
	}
	s, _ := openStore(t)
	opt := PullOptions{
		Credentials: Credentials{Username: "ann", Password: "for the registry"},
		Registries: Registries{
			Mirrors: map[string][]string{here.host: {"http://127.0.0.1:1", "http://" + mirror.host}},
			Credentials: func(_ context.Context, host string) (Credentials, error) {
				if host != mirror.host {
					return Credentials{}, nil
				}
				return Credentials{Username: "mirror", Password: "x"}, nil
			},
		},
	}
	for _, tag := range []string{"1", "2", "3"} {
		img, err := s.Pull(t.Context(), here.host+"/demo:"+tag, opt)
		if err != nil {
			t.Fatal(err)
		}
		if want := here.host + "/demo:" + tag; !slices.Contains(img.Tags, want) {
			t.Errorf("tags %q, want %q: the name is the registry's", img.Tags, want)
		}
	}
	if here, there := here.fetched(both.digest()), mirror.fetched(both.digest()); here != 0 || there == 0 {
		t.Errorf("what the mirror has was fetched %d times from it and %d times from the registry", there, here)
	}
	if here.fetched(only.digest()) == 0 {
		t.Error("what the mirror lacks was not fetched from the registry")
	}
	wantComplete(t, s)
	_, err := s.Pull(t.Context(), here.host+"/demo:4", opt)
	wantError(t, err, "manifest for "+here.host+"/demo:4 not found", "; before it, mirror http://127.0.0.1:1: ", "connection refused; mirror http://"+mirror.host+": manifest for ")
}

func TestReadRegistries(t *testing.T) {
	dir := t.TempDir()
	if r, err := ReadRegistries(dir); err != nil || r.Certs != filepath.Join(dir, "certs.d") {
		t.Errorf("of an empty directory: %+v, %v", r, err)
	}
	file := filepath.Join(dir, "registries.json")
	for content, want := range map[string]string{
		`{"insecure": ["10.1.0.0/16", "lab.test", "shop.test:5000"], "mirrors": {"docker.io": ["https://cache.class:5000"]}}`: "",
		`{"insecures": []}`:                            `registries.json: json: unknown field "insecures"`,
		`{"mirrors": {"docker.io": ["cache:5000"]}}`:   `registries.json: mirror "cache:5000": want https://HOST[:PORT] or http://HOST[:PORT]`,
		`{"mirrors": {"docker.io": ["https://a/b"]}}`:  `mirror "https://a/b": want`,
		`{"mirrors": {"docker.io": ["https://u@a/"]}}`: `mirror "https://u@a/": want`,
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := ReadRegistries(dir)
		if want != "" {
			wantError(t, err, want)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for host, want := range map[string]bool{
			"10.1.2.3:5000": true, "10.1.2.3": true, "10.2.0.1": false, "lab.test": true, "lab.test:1": true, "shop.test:5000": true,
			"shop.test": false, "shop.test:5001": false, "localhost:5000": true, "127.0.0.9": true, "[::1]:5000": true, "[2001:db8::1]:5000": false,
		} {
			if got := r.isInsecure(host); got != want {
				t.Errorf("isInsecure(%q) = %v, want %v", host, got, want)
			}
		}
	}
}
