//go:build linux

package images

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
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
	idleTimeout   = 10 * time.Second // of a connection that nobody uses
)

// Repository is one repository of a registry, over the protocol of the OCI
// distribution specification 1.1. Its methods may be called from several
// goroutines.
type Repository struct {
	name   string   // library/debian
	base   *url.URL // https://registry-1.docker.io/v2/
	client *http.Client
	auth   *authorizer
}

// ConnectOptions say as whom to speak with a registry, and how.
type ConnectOptions struct {
	Credentials Credentials
	Registries  Registries
	Insecure    bool     // as if the registry, and those that it sends us to, were declared insecure
	Push        bool     // ask for the right to write as well
	MountFrom   []string // further repositories of the registry that are read
}

// Connect finds out how the registry of ref is spoken to: it must answer
// GET /v2/. HTTPS is used, and plain HTTP only where the registry is on a
// loopback address or is declared insecure, and it does not speak TLS. The
// caller closes what it gets.
func Connect(ctx context.Context, ref reference.Named, opt ConnectOptions) (*Repository, error) {
	return connectDomain(ctx, reference.Domain(ref), reference.Path(ref), opt)
}

// Login asks the registry of a domain whether it takes the credentials.
func Login(ctx context.Context, domain string, opt ConnectOptions) error {
	r, err := connectDomain(ctx, domain, "", opt)
	if err != nil {
		return err
	}
	defer r.Close()
	resp, err := r.do(ctx, call{method: http.MethodGet, url: r.base, accept: []int{http.StatusOK}})
	if err != nil {
		return fmt.Errorf("login at %s: %w", domain, err)
	}
	return resp.Body.Close()
}

func connectDomain(ctx context.Context, host, path string, opt ConnectOptions) (*Repository, error) {
	if host == "docker.io" {
		host = "registry-1.docker.io" // docker.io itself is a web site
	}
	schemes := []string{"https"}
	if opt.Insecure || opt.Registries.isInsecure(host) {
		schemes = append(schemes, "http")
	}
	return connect(ctx, path, host, schemes, opt)
}

// connectMirror connects to the repository of ref as a mirror has it, which
// knows us by credentials of its own.
func connectMirror(ctx context.Context, ref reference.Named, mirror string, opt ConnectOptions) (*Repository, error) {
	u, err := parseMirror(mirror)
	if err != nil {
		return nil, err
	}
	opt.Credentials = Credentials{}
	if opt.Registries.Credentials != nil {
		if opt.Credentials, err = opt.Registries.Credentials(ctx, u.Host); err != nil {
			return nil, err
		}
	}
	return connect(ctx, reference.Path(ref), u.Host, []string{u.Scheme}, opt)
}

// connect tries the schemes in order.
func connect(ctx context.Context, path, host string, schemes []string, opt ConnectOptions) (*Repository, error) {
	client := &http.Client{
		Transport:     &transport{registries: opt.Registries, insecure: opt.Insecure},
		CheckRedirect: checkRedirect,
	}
	var scopes []string
	if path != "" {
		action := "pull"
		if opt.Push {
			action = "pull,push"
		}
		scopes = append(scopes, "repository:"+path+":"+action)
	}
	for _, from := range opt.MountFrom {
		scopes = append(scopes, "repository:"+from+":pull")
	}
	var err error
	for _, scheme := range schemes {
		r := &Repository{
			name:   path,
			base:   &url.URL{Scheme: scheme, Host: host, Path: "/v2/"},
			client: client,
			auth:   &authorizer{credentials: opt.Credentials, scopes: scopes, client: client},
		}
		err = r.ping(ctx)
		if busy, ok := errors.AsType[*StatusError](err); ok && transient(busy) && pause(ctx, delay(1, busy)) == nil {
			_, err = retry(ctx, func() (struct{}, error) { return struct{}{}, r.ping(ctx) })
		}
		if err == nil {
			return r, nil
		}
		_, answered := errors.AsType[*StatusError](err)
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
		op, ok := errors.AsType[*net.OpError](err)
		refused := ok && op.Op == "remote error" // crypto/tls's name for an alert: it wants another certificate of us
		if answered || untrusted || refused || ctx.Err() != nil {
			break // another scheme would not say more
		}
	}
	client.CloseIdleConnections()
	return nil, connectError(host, err, opt)
}

// connectError names the cure of what is the matter with a registry's TLS.
func connectError(host string, err error, opt ConnectOptions) error {
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted && opt.Registries.Certs != "" {
		return fmt.Errorf("%w: put the certificate of its authority into %s", err, filepath.Join(opt.Registries.Certs, host, "ca.crt"))
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return fmt.Errorf("%w: %s has no TLS, and is spoken to only when it is declared insecure", err, host)
	}
	return err
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
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("%s redirects to %s, without TLS", via[0].URL.Host, req.URL.Host)
	}
	return nil
}

// Close lets go of the connections to the registry.
func (r *Repository) Close() { r.client.CloseIdleConnections() }

// ping asks whether a registry is there (distribution specification, end-1). That
// it asks who we are is a yes.
func (r *Repository) ping(ctx context.Context) error {
	resp, err := r.send(ctx, call{method: http.MethodGet, url: r.base}, "")
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

// call is one request to a registry, which can be made again.
type call struct {
	method string
	url    *url.URL
	header http.Header
	body   func() (io.Reader, error) // nil: none
	size   int64                     // of the body
	accept []int                     // the statuses that are no error
}

// path returns the URL of a path below the repository.
func (r *Repository) path(elem ...string) *url.URL {
	return r.base.JoinPath(append([]string{r.name}, elem...)...)
}

// do makes a call, and again where the first answer was but a hiccup. The
// caller closes the body. A status that the call does not accept is a *StatusError.
func (r *Repository) do(ctx context.Context, c call) (*http.Response, error) {
	return retry(ctx, func() (*http.Response, error) { return r.once(ctx, c) })
}

// once makes a call, with authorization where the registry wants one.
func (r *Repository) once(ctx context.Context, c call) (*http.Response, error) {
	used := r.auth.authorization()
	resp, err := r.send(ctx, c, used)
	// Asked for the first time, or a token has expired on the way. With a token
	// for few requests, others may have used up the new one meanwhile.
	for n := 1; n < attempts && err == nil && resp.StatusCode == http.StatusUnauthorized && r.isHere(resp.Request.URL); n++ {
		err = r.auth.answer(ctx, resp, used)
		resp.Body.Close()
		if err == nil {
			used = r.auth.authorization()
			resp, err = r.send(ctx, c, used)
		}
	}
	if err != nil {
		return nil, err
	}
	if !slices.Contains(c.accept, resp.StatusCode) {
		defer resp.Body.Close()
		return nil, responseError(resp)
	}
	return resp, nil
}

// isHere says whether u is at the registry itself. Its redirects and uploads may
// lead elsewhere: who asks there for our credentials does not get them.
func (r *Repository) isHere(u *url.URL) bool {
	return u.Host == r.base.Host && u.Scheme == r.base.Scheme
}

func (r *Repository) send(ctx context.Context, c call, authorization string) (*http.Response, error) {
	var body io.Reader
	if c.body != nil {
		var err error
		if body, err = c.body(); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, c.method, c.url.String(), body)
	if err != nil {
		return nil, err
	}
	if c.body != nil {
		req.ContentLength = c.size
	}
	maps.Copy(req.Header, c.header)
	req.Header.Set("User-Agent", userAgent)
	if authorization != "" && r.isHere(c.url) {
		req.Header.Set("Authorization", authorization)
	}
	chapter.Call(ctx, "ask the registry, by "+c.url.Scheme, "sendto(%q, %q)", c.url.Host, c.method+" "+c.url.RequestURI())
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, networkError(ctx, err)
	}
	return resp, nil
}

// Manifest fetches a manifest or an index by tag or digest (end-3), with its
// media type, which may be empty. What is asked for by digest has that digest.
func (r *Repository) Manifest(ctx context.Context, id string) (mediaType string, raw []byte, err error) {
	resp, err := r.do(ctx, call{
		method: http.MethodGet,
		url:    r.path("manifests", id),
		header: http.Header{"Accept": acceptedManifests},
		accept: []int{http.StatusOK},
	})
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	raw, err = readDocument(resp.Body, "manifest "+id)
	if err != nil {
		return "", nil, err
	}
	want := digest.Digest(id)
	if want.Validate() != nil { // a tag: what the registry says it is, if it does
		want = digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	}
	if checkDigest(want) == nil {
		if got := want.Algorithm().FromBytes(raw); got != want {
			return "", nil, errorf(errdefs.ErrDataLoss, "manifest %s does not match its digest: want %s, got %s", id, want, got)
		}
	}
	return resp.Header.Get("Content-Type"), raw, nil
}

// Resolve asks which manifest a tag means now (end-3, by HEAD, which no
// registry counts as a pull). It returns "" where the registry does not say.
func (r *Repository) Resolve(ctx context.Context, tag string) (digest.Digest, error) {
	resp, err := r.do(ctx, call{
		method: http.MethodHead,
		url:    r.path("manifests", tag),
		header: http.Header{"Accept": acceptedManifests},
		accept: []int{http.StatusOK},
	})
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	d := digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	if checkDigest(d) != nil {
		return "", nil
	}
	return d, nil
}

// Descriptor fetches a manifest or an index, and returns what others name it by.
func (r *Repository) Descriptor(ctx context.Context, id string) (ocispec.Descriptor, error) {
	doc, err := r.document(ctx, id)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("manifest %s: %w", id, err)
	}
	return doc.descriptor(), nil
}

// document fetches a manifest or an index, and finds out which it is.
func (r *Repository) document(ctx context.Context, id string) (document, error) {
	mediaType, raw, err := r.Manifest(ctx, id)
	if err != nil {
		return document{}, err
	}
	return newDocument(raw, mediaType)
}

// bytes fetches a small blob and checks it.
func (r *Repository) bytes(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	rc, err := r.Blob(ctx, desc)
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
	Codes      []string      // MANIFEST_UNKNOWN, DENIED, …: error codes of the distribution specification
	Message    string        // what the registry says, else what its status says
	RetryAfter time.Duration // when to come again, if it says so
}

func (e *StatusError) Error() string {
	if e.RetryAfter > 0 {
		return fmt.Sprintf("%s (the registry asks to wait for %s)", e.Message, e.RetryAfter.Round(time.Second))
	}
	return e.Message
}

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
	e := &StatusError{StatusCode: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
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
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errorf(errBroken, "%w", err)
	}
	return errorf(errdefs.ErrUnavailable, "%w", err)
}
