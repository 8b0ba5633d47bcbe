//go:build linux

package images

import (
	"net"
	"net/http"
	"net/url"
	"sync"

	"golang.org/x/net/http/httpproxy"
)

// transport speaks HTTP with a registry, and with the servers that it sends us
// to. Each of them has TLS of its own: that one is trusted without a
// certificate, or is shown ours, says nothing about the next.
type transport struct {
	registries Registries
	insecure   bool // whoever it is

	mu sync.Mutex
	to map[string]*http.Transport // by HOST:PORT
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	to, err := t.host(req.URL.Host)
	if err != nil {
		return nil, err
	}
	return to.RoundTrip(req)
}

func (t *transport) host(host string) (*http.Transport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if to := t.to[host]; to != nil {
		return to, nil
	}
	config, err := t.registries.tlsConfig(host, t.insecure)
	if err != nil {
		return nil, err
	}
	// HTTPS_PROXY, HTTP_PROXY and NO_PROXY, as they are now: a daemon's
	// environment is read when it connects, and not once.
	proxy := httpproxy.FromEnvironment().ProxyFunc()
	to := &http.Transport{
		Proxy:                 func(req *http.Request) (*url.URL, error) { return proxy(req.URL) },
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: headerTimeout,
		IdleConnTimeout:       idleTimeout,
		MaxIdleConnsPerHost:   parallelLayers,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true, // a digest is that of the bytes as they travel
	}
	if t.to == nil {
		t.to = make(map[string]*http.Transport)
	}
	t.to[host] = to
	return to, nil
}

// CloseIdleConnections lets go of the connections that nobody uses.
func (t *transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, to := range t.to {
		to.CloseIdleConnections()
	}
}
