//go:build linux

package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// serve starts a registry of its own and returns its address.
func (s *shell) serve(root string, args ...string) string {
	s.t.Helper()
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: append(append([]string{program, "--root", s.path(root), "--config", s.path("config"), "serve"}, args...), "127.0.0.1:0"), Stderr: os.Stderr}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		if err := cmd.Wait(); err != nil {
			s.t.Errorf("the registry: %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "serving on ")
	if !ok {
		s.t.Fatalf("the registry says %q, %v", line, err)
	}
	return address
}

// certificate makes an authority, ca.crt, and a server's certificate of it.
func (s *shell) certificate() {
	s.t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			s.t.Fatal(err)
		}
		return k
	}
	write := func(name, kind string, der []byte) {
		s.write(name, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	}
	caKey, serverKey := key(), key()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "class"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "registry"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, c := range []struct {
		name     string
		template *x509.Certificate
		public   any
	}{{"ca.crt", ca, &caKey.PublicKey}, {"server.crt", server, &serverKey.PublicKey}} {
		der, err := x509.CreateCertificate(rand.Reader, c.template, ca, c.public, caKey)
		if err != nil {
			s.t.Fatal(err)
		}
		write(c.name, "CERTIFICATE", der)
	}
	der, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		s.t.Fatal(err)
	}
	write("server.key", "PRIVATE KEY", der)
}

// A registry with TLS and users: what it takes to come in, for a client of
// HTTP, for ours, and for skopeo.
func TestServeTLSAndUsers(t *testing.T) {
	s := newShell(t)
	s.ours()
	s.certificate()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	s.write("users", "ann:"+string(hash)+"\n")
	address := s.serve("registry", "--cert", s.path("server.crt"), "--key", s.path("server.key"), "--htpasswd", s.path("users"))

	raw, err := os.ReadFile(s.path("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(raw)
	for _, tt := range []struct {
		what, url, user string
		pool            *x509.CertPool
		want            string
	}{
		{"all that it takes", "https://", "ann", pool, "200 OK"},
		{"no password", "https://", "", pool, "401 Unauthorized"},
		{"nobody's password", "https://", "bob", pool, "401 Unauthorized"},
		{"an authority that nobody knows", "https://", "ann", nil, "certificate signed by unknown authority"},
		{"no TLS", "http://", "ann", pool, "400 Bad Request"},
	} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: tt.pool}, DisableKeepAlives: true}}
		req, err := http.NewRequest("GET", tt.url+address+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.user != "" {
			req.SetBasicAuth(tt.user, "secret")
		}
		got := ""
		if resp, err := client.Do(req); err != nil {
			got = err.Error()
		} else {
			got = resp.Status
			resp.Body.Close()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
		}
	}

	s.write("config/certs.d/"+address+"/ca.crt", string(raw))
	s.write("login/config.json", `{"auths": {"`+address+`": {"username": "ann", "password": "secret"}}}`)
	s.env = []string{"DOCKER_CONFIG=" + s.path("login")}
	name := address + "/team/demo:1"
	s.image("tag", "demo:1", name)
	s.image("--config", s.path("config"), "push", name)
	s.root = s.path("other")
	s.image("--config", s.path("config"), "pull", name)
	s.wantRun(name, "by us\n")

	hosttest.Require(t, hosttest.Program("skopeo"))
	s.env = []string{"DOCKER_CONFIG="}
	if err := os.Mkdir(s.path("certs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.path("ca.crt"), s.path("certs/ca.crt")); err != nil {
		t.Fatal(err)
	}
	login := []string{"--src-cert-dir", s.path("certs"), "--dest-cert-dir", s.path("certs"), "--src-creds", "ann:secret", "--dest-creds", "ann:secret"}
	s.run(append(append([]string{"skopeo", "--insecure-policy", "copy"}, login...), "docker://"+name, "docker://"+address+"/by/skopeo:2")...)
	s.env = []string{"DOCKER_CONFIG=" + s.path("login")}
	s.image("--config", s.path("config"), "pull", address+"/by/skopeo:2")
	s.wantRun(address+"/by/skopeo:2", "by us\n")
}

// Docker pushes to our registry and pulls from it.
func TestServeDocker(t *testing.T) {
	s := newShell(t)
	docker := dockerd(s)
	s.ours()
	address := s.serve("registry")
	s.image("save", "-o", s.path("ours.tar"), "demo:1")
	docker("load", "-i", s.path("ours.tar"))
	s.image("tag", "demo:1", address+"/ours:1")
	s.image("push", address+"/ours:1")

	docker("tag", "demo:1", address+"/by/docker:2")
	docker("push", address+"/by/docker:2")
	docker("rmi", "demo:1", address+"/by/docker:2")
	for _, name := range []string{address + "/by/docker:2", address + "/ours:1"} {
		docker("pull", name)
		if out := docker("run", "--rm", "--network", "none", name); out != "by us\n" {
			t.Errorf("docker runs %s, which says %q", name, out)
		}
	}
	s.root = s.path("other")
	s.image("pull", address+"/by/docker:2")
	s.wantRun(address+"/by/docker:2", "by us\n")
	// What docker pushed is on disk once, with what we pushed.
	layers, err := filepath.Glob(s.path("registry/registry/blobs/sha256/*"))
	if err != nil || len(layers) > 2*2+2*2 {
		t.Errorf("%d blobs on disk, %v", len(layers), err)
	}
}
