//go:build linux

package images

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	userAgent = "drydock"

	// How long a registry may take to answer a call, to begin an answer, and
	// to be silent in the middle of one.
	dialTimeout   = 10 * time.Second
	headerTimeout = 60 * time.Second
	stallTimeout  = 60 * time.Second
)

// repository is one repository of a registry, over the protocol of the OCI
// distribution specification 1.1.
type repository struct {
	name   string   // library/debian
	base   *url.URL // https://registry-1.docker.io/v2/
	client *http.Client
	auth   *authorizer
}

// connect finds out how the registry of ref is spoken to: it must answer
// GET /v2/. HTTPS is used, and plain HTTP only where the registry is on a
// loopback address or insecure was said, and it does not speak TLS.
func connect(ctx context.Context, ref reference.Named, credentials Credentials, insecure bool) (*repository, error) {
	domain := reference.Domain(ref)
	host := domain
	if domain == "docker.io" {
		host = "registry-1.docker.io" // docker.io itself is a web site
	}
	schemes := []string{"https"}
	if insecure || isLoopback(host) {
		insecure = true
		schemes = append(schemes, "http")
	}
	client := &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSClientConfig:       &tls.Config{InsecureSkipVerify: insecure},
			TLSHandshakeTimeout:   dialTimeout,
			ResponseHeaderTimeout: headerTimeout,
			IdleConnTimeout:       10 * time.Second,
			MaxIdleConnsPerHost:   parallelLayers,
			ForceAttemptHTTP2:     true,
			DisableCompression:    true, // a digest is that of the bytes as they travel
		},
		CheckRedirect: checkRedirect,
	}
	path := reference.Path(ref)
	var err error
	for _, scheme := range schemes {
		r := &repository{
			name:   path,
			base:   &url.URL{Scheme: scheme, Host: host, Path: "/v2/"},
			client: client,
			auth:   &authorizer{credentials: credentials, scope: "repository:" + path + ":pull", client: client},
		}
		if err = r.ping(ctx); err == nil {
			return r, nil
		}
		var status *StatusError
		if errors.As(err, &status) || ctx.Err() != nil {
			break // something answered; another scheme would not say more
		}
	}
	client.CloseIdleConnections()
	return nil, err
}

// isLoopback says whether host[:port] is this machine: traffic to it cannot be
// listened to by others.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkRedirect lets a registry send us to the place where its blobs are, and
// keeps our authorization from going there: it is meant for the registry. (Go
// keeps it only from other domains, not from other ports or subdomains.)
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	if from := via[0].URL; req.URL.Host != from.Host || req.URL.Scheme != from.Scheme {
		req.Header.Del("Authorization")
	}
	return nil
}

// close lets go of the connections to the registry.
func (r *repository) close() { r.client.CloseIdleConnections() }

// ping asks whether a registry is there (distribution specification, end-1). That
// it asks who we are is a yes.
func (r *repository) ping(ctx context.Context) error {
	resp, err := r.send(ctx, r.base, nil, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized:
		return r.auth.answer(ctx, resp, "")
	}
	return fmt.Errorf("%s: %w", r.base, responseError(resp))
}

// get asks for a path below the repository, with authorization where the
// registry wants one. The caller closes the body. A status other than 200 is a
// *StatusError.
func (r *repository) get(ctx context.Context, path string, accept []string) (*http.Response, error) {
	u := r.base.JoinPath(r.name, path)
	used := r.auth.authorization()
	resp, err := r.send(ctx, u, accept, used)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		// Asked for the first time, or a token has expired on the way.
		err = r.auth.answer(ctx, resp, used)
		resp.Body.Close()
		if err == nil {
			resp, err = r.send(ctx, u, accept, r.auth.authorization())
		}
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, responseError(resp)
	}
	return resp, nil
}

func (r *repository) send(ctx context.Context, u *url.URL, accept []string, authorization string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	for _, t := range accept {
		req.Header.Add("Accept", t)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	chapter.Call(ctx, "ask the registry, by "+u.Scheme, "sendto(%q, %q)", u.Host, "GET "+u.RequestURI())
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, networkError(ctx, err)
	}
	return resp, nil
}

// manifest fetches a manifest or an index by tag or digest (end-3). What is
// asked for by digest has that digest.
func (r *repository) manifest(ctx context.Context, id string) (document, error) {
	resp, err := r.get(ctx, "manifests/"+id, acceptedManifests)
	if err != nil {
		return document{}, err
	}
	defer resp.Body.Close()
	raw, err := readDocument(resp.Body, "manifest "+id)
	if err != nil {
		return document{}, err
	}
	want := digest.Digest(id)
	if want.Validate() != nil { // a tag: what the registry says it is, if it does
		want = digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	}
	if checkDigest(want) == nil {
		if got := want.Algorithm().FromBytes(raw); got != want {
			return document{}, errorf(errdefs.ErrDataLoss, "manifest %s does not match its digest: want %s, got %s", id, want, got)
		}
	}
	return newDocument(raw, resp.Header.Get("Content-Type"))
}

// blob opens a blob (end-2). The caller reads it, checks it and closes it.
func (r *repository) blob(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	resp, err := r.get(ctx, "blobs/"+desc.Digest.String(), nil)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("blob %s: %w", desc.Digest, err)
	}
	if resp.ContentLength >= 0 && resp.ContentLength != desc.Size {
		cancel(nil)
		resp.Body.Close()
		return nil, errorf(errdefs.ErrDataLoss, "blob %s: the manifest says %d bytes, the registry sends %d", desc.Digest, desc.Size, resp.ContentLength)
	}
	stalled := fmt.Errorf("nothing came from %s for %s", r.base.Host, stallTimeout)
	return &body{ctx, resp.Body, cancel, time.AfterFunc(stallTimeout, func() { cancel(stalled) })}, nil
}

// body is a response's body that ends with an error when nothing comes.
type body struct {
	ctx    context.Context
	rc     io.ReadCloser
	cancel context.CancelCauseFunc
	stall  *time.Timer
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.rc.Read(p)
	if n > 0 {
		b.stall.Reset(stallTimeout)
	}
	if err != nil && err != io.EOF && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	return n, err
}

func (b *body) Close() error {
	b.stall.Stop()
	b.cancel(nil)
	return b.rc.Close()
}

// bytes fetches a small blob and checks it.
func (r *repository) bytes(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	rc, err := r.blob(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	raw, err := readDocument(rc, "blob "+desc.Digest.String())
	if err != nil {
		return nil, err
	}
	if got := desc.Digest.Algorithm().FromBytes(raw); got != desc.Digest {
		return nil, errorf(errdefs.ErrDataLoss, "blob does not match its digest: want %s, got %s (%d bytes)", desc.Digest, got, len(raw))
	}
	return raw, nil
}

// StatusError is a registry's answer that it will not do what was asked.
type StatusError struct {
	StatusCode int
	Codes      []string // MANIFEST_UNKNOWN, DENIED, …: error codes of the distribution specification
	Message    string   // what the registry says, else what its status says
}

func (e *StatusError) Error() string { return e.Message }

// Unwrap returns the kind of the error, one of containerd/errdefs.
func (e *StatusError) Unwrap() error {
	switch {
	case e.StatusCode == http.StatusUnauthorized:
		return errdefs.ErrUnauthenticated
	case e.StatusCode == http.StatusForbidden:
		return errdefs.ErrPermissionDenied
	case e.StatusCode == http.StatusNotFound:
		return errdefs.ErrNotFound
	case e.StatusCode == http.StatusTooManyRequests:
		return errdefs.ErrResourceExhausted
	case e.StatusCode >= 500:
		return errdefs.ErrUnavailable
	}
	return errdefs.ErrUnknown
}

// responseError reads an answer that is none of the expected ones.
func responseError(resp *http.Response) error {
	e := &StatusError{StatusCode: resp.StatusCode}
	var body struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if json.Unmarshal(raw, &body) == nil {
		var messages []string
		for _, b := range body.Errors {
			e.Codes = append(e.Codes, b.Code)
			code := strings.ToLower(strings.ReplaceAll(b.Code, "_", " "))
			messages = append(messages, strings.TrimSuffix(code+": "+b.Message, ": "))
		}
		e.Message = strings.Join(messages, "; ")
	}
	if e.Message == "" {
		e.Message = "received unexpected HTTP status: " + resp.Status
	}
	return e
}

// networkError marks what kept us from getting any answer; net/http's text
// names the address and the cause.
func networkError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w", err)
	}
	return errorf(errdefs.ErrUnavailable, "%w", err)
}
