//go:build linux

package registry

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	images "drydock.example/06-images"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/singleflight"
)

// Upstream is the registry that a mirror is a cache of.
type Upstream struct {
	Host        string // docker.io
	Credentials images.Credentials
	Registries  images.Registries
	Fresh       time.Duration // how long a tag is taken for what it was; 0: upstream is asked each time
}

// holdOff is how long an upstream that does not answer is not asked again for
// what is here: nobody should wait for a timeout at each tag.
const holdOff = 30 * time.Second

// Mirror is a pull-through cache: a registry to read, whose content comes from
// another one the first time that it is asked for. What came once is there
// also when upstream is gone. It is an http.Handler.
//
// A tag is asked for upstream each time, as it may have moved; what has a digest never is.
type Mirror struct {
	reg      *Registry
	upstream Upstream
	flights  singleflight.Group
	open     context.Context // ends when the mirror is closed
	close    context.CancelFunc
	work     sync.WaitGroup // of the fetches

	mu        sync.Mutex
	remotes   map[string]*images.Repository
	fetches   map[string]*fetch // by repository and digest
	goneUntil time.Time
}

// NewMirror makes reg a cache of upstream. The caller closes the mirror, and
// then reg.
func NewMirror(reg *Registry, upstream Upstream) *Mirror {
	ctx, cancel := context.WithCancel(context.Background())
	return &Mirror{reg: reg, upstream: upstream, open: ctx, close: cancel, remotes: make(map[string]*images.Repository), fetches: make(map[string]*fetch)}
}

// Close ends what is being fetched and lets go of the connections to upstream.
func (m *Mirror) Close() {
	m.close()
	m.work.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, remote := range m.remotes {
		remote.Close()
	}
	clear(m.remotes)
}

// ServeHTTP answers as the registry does, after what is missing was fetched.
func (m *Mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := m.serve(w, r)
	if err == nil {
		m.reg.ServeHTTP(w, r)
	} else if err != errAnswered {
		writeError(w, r, err)
	}
}

// errAnswered says that the client has its answer.
var errAnswered = errors.New("answered")

// serve fetches what the request is about, or answers it.
func (m *Mirror) serve(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return methodNotAllowed(w, http.MethodGet, http.MethodHead)
	}
	for _, kind := range []string{"/manifests/", "/blobs/"} {
		name, object, ok := cutLast(strings.TrimPrefix(r.URL.Path, "/v2/"), kind)
		if !ok || !validName(name) {
			continue
		}
		repo := m.reg.repository(name)
		if kind == "/manifests/" {
			return m.manifest(r.Context(), repo, object)
		}
		d, err := parseDigest(object)
		if err != nil {
			return err
		}
		return m.blob(w, r, repo, d)
	}
	return nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// remote returns the connection to a repository upstream.
func (m *Mirror) remote(ctx context.Context, name string) (*images.Repository, error) {
	m.mu.Lock()
	remote := m.remotes[name]
	m.mu.Unlock()
	if remote != nil {
		return remote, nil
	}
	ref, err := reference.ParseNormalizedNamed(m.upstream.Host + "/" + name)
	if err != nil {
		return nil, &Error{http.StatusBadRequest, "NAME_INVALID", "invalid repository name", name}
	}
	remote, err = images.Connect(ctx, ref, images.ConnectOptions{Credentials: m.upstream.Credentials, Registries: m.upstream.Registries})
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.remotes[name]; known != nil {
		remote.Close()
		return known, nil
	}
	m.remotes[name] = remote
	return remote, nil
}

// manifest makes the manifest that a reference names be here, if upstream has
// it. Where upstream does not answer, what is here is good enough.
func (m *Mirror) manifest(ctx context.Context, repo repository, id string) error {
	d, missing := repo.resolve(id)
	if missing == nil {
		_, missing = repo.mediaType(d)
	}
	isTag := !strings.Contains(id, ":")
	if missing == nil && (!isTag || m.fresh(repo.tagLink(id))) {
		return nil
	}
	if isTag && !tagPattern.MatchString(id) {
		return nil // the registry says what is wrong with it
	}
	// Who asks at the same time waits for one fetch, which does not end because
	// one of them leaves.
	_, err, _ := m.flights.Do(repo.name+" "+id, func() (any, error) {
		return nil, m.fetchManifest(context.WithoutCancel(ctx), repo, id)
	})
	switch {
	case errdefs.IsNotFound(err):
		return &Error{http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown", id}
	case err != nil && missing == nil:
		m.mu.Lock()
		defer m.mu.Unlock()
		m.goneUntil = time.Now().Add(holdOff)
		return nil
	case err != nil:
		return m.upstreamError(err)
	}
	return nil
}

// fresh says whether a tag need not be asked for upstream now.
func (m *Mirror) fresh(link string) bool {
	m.mu.Lock()
	gone := time.Now().Before(m.goneUntil)
	m.mu.Unlock()
	info, err := os.Stat(link)
	return gone || err == nil && time.Since(info.ModTime()) < m.upstream.Fresh
}

func (m *Mirror) fetchManifest(ctx context.Context, repo repository, id string) error {
	remote, err := m.remote(ctx, repo.name)
	if err != nil {
		return err
	}
	isTag := !strings.Contains(id, ":")
	if isTag {
		d, err := remote.Resolve(ctx, id)
		if err != nil {
			return err
		}
		if d != "" {
			if _, err := repo.mediaType(d); err == nil {
				return m.reg.writeFile(repo.tagLink(id), []byte(d))
			}
		}
	}
	mediaType, raw, err := remote.Manifest(ctx, id)
	if err != nil {
		return err
	}
	parsed, err := parseManifest(raw, mediaType)
	if err != nil {
		return err
	}
	d := digest.FromBytes(raw)
	if !isTag {
		d = digest.Digest(id) // checked by Manifest
	}
	m.reg.refs.RLock()
	defer m.reg.refs.RUnlock()
	if err := m.reg.addManifest(ctx, repo, parsed, d, raw); err != nil {
		return err
	}
	if !isTag {
		return nil
	}
	return m.reg.writeFile(repo.tagLink(id), []byte(d))
}

// upstreamError says that it is not this registry that has failed.
func (m *Mirror) upstreamError(err error) error {
	if refusal, ok := errors.AsType[*Error](err); ok {
		return refusal
	}
	status := http.StatusBadGateway
	if errdefs.IsResourceExhausted(err) {
		status = http.StatusTooManyRequests
	}
	return &Error{status, "UNKNOWN", fmt.Sprintf("%s cannot be asked: %v", m.upstream.Host, err), nil}
}

// blob makes a blob be here, and sends it to the client while it comes.
func (m *Mirror) blob(w http.ResponseWriter, r *http.Request, repo repository, d digest.Digest) error {
	if repo.hasBlob(d) && m.reg.content.Has(d) {
		return nil
	}
	remote, err := m.remote(r.Context(), repo.name)
	if err != nil {
		return m.upstreamError(err)
	}
	if r.Method == http.MethodHead {
		size, err := remote.BlobSize(r.Context(), d)
		if errdefs.IsNotFound(err) {
			return errBlobUnknown
		} else if err != nil {
			return m.upstreamError(err)
		}
		blobHeader(w, d, size)
		return errAnswered
	}
	f := m.startFetch(context.WithoutCancel(r.Context()), remote, repo, d)
	size, err := f.size()
	if errdefs.IsNotFound(err) {
		return errBlobUnknown
	} else if err != nil {
		return m.upstreamError(err)
	}
	if r.Header.Get("Range") != "" || size < 0 { // rare, and simpler when all of it is here
		if err := f.wait(); err != nil {
			return m.upstreamError(err)
		}
		return nil
	}
	source, err := f.reader()
	if errors.Is(err, fs.ErrNotExist) { // it has got, or gets, its own name
		if err := f.wait(); err != nil {
			return m.upstreamError(err)
		}
		return nil
	} else if err != nil {
		return err
	}
	defer source.Close()
	blobHeader(w, d, size)
	if _, err := io.Copy(w, source); err != nil && r.Context().Err() == nil {
		panic(http.ErrAbortHandler) // the status is long sent: only a cut connection can still say that it went wrong
	}
	return errAnswered
}

func blobHeader(w http.ResponseWriter, d digest.Digest, size int64) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Content-Digest", d.String())
	if size >= 0 {
		h.Set("Content-Length", fmt.Sprint(size))
	}
}

// fetch is a blob on its way from upstream into a file, from which any number
// of clients read at the same time.
type fetch struct {
	mu      sync.Mutex
	changed *sync.Cond
	file    string
	total   int64 // -1 until it is known
	written int64
	started bool // total and file are set
	done    bool
	err     error
}

// startFetch begins to fetch a blob, or joins who does.
func (m *Mirror) startFetch(ctx context.Context, remote *images.Repository, repo repository, d digest.Digest) *fetch {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := repo.name + " " + d.String()
	if f := m.fetches[key]; f != nil {
		return f
	}
	f := &fetch{total: -1}
	f.changed = sync.NewCond(&f.mu)
	m.fetches[key] = f
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(m.open, cancel)
	m.work.Go(func() {
		defer cancel()
		defer stop()
		err := m.fetchBlob(ctx, remote, repo, d, f)
		m.mu.Lock()
		delete(m.fetches, key)
		m.mu.Unlock()
		f.set(func() { f.done, f.err = true, err })
	})
	return f
}

func (m *Mirror) fetchBlob(ctx context.Context, remote *images.Repository, repo repository, d digest.Digest, f *fetch) error {
	size, err := remote.BlobSize(ctx, d)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Join(m.reg.dir, "tmp"), "")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails once it is a blob
	defer file.Close()
	body, err := remote.Blob(ctx, ocispec.Descriptor{Digest: d, Size: size})
	if err != nil {
		return err
	}
	defer body.Close()
	f.set(func() { f.file, f.total, f.started = file.Name(), size, true })
	sum := d.Algorithm().Hash()
	if _, err := io.Copy(&fetchWriter{f, file, sum}, body); err != nil {
		return err
	}
	if got := digest.NewDigest(d.Algorithm(), sum); got != d {
		return fmt.Errorf("blob %s: upstream sends %s: %w", d, got, errdefs.ErrDataLoss)
	}
	m.reg.refs.RLock()
	defer m.reg.refs.RUnlock()
	if err := m.reg.content.Adopt(file.Name(), d); err != nil {
		return err
	}
	return repo.linkBlob(d)
}

// fetchWriter writes what comes to the file and tells those who read it.
type fetchWriter struct {
	f    *fetch
	file *os.File
	sum  hash.Hash
}

func (w *fetchWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.sum.Write(p[:n])
	w.f.set(func() { w.f.written += int64(n) })
	return n, err
}

// set changes the fetch and wakes who waits for it.
func (f *fetch) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	f.changed.Broadcast()
}

// size waits until it is known how large the blob is.
func (f *fetch) size() (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.started && !f.done {
		f.changed.Wait()
	}
	return f.total, f.err
}

// wait returns when the blob is here.
func (f *fetch) wait() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.done {
		f.changed.Wait()
	}
	return f.err
}

// reader reads the blob while it comes. Its last byte is given out when the
// digest is known to be right, and io.EOF after it.
func (f *fetch) reader() (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	file, err := os.Open(f.file)
	if err != nil {
		return nil, err
	}
	return &fetchReader{file: file, f: f}, nil
}

type fetchReader struct {
	file *os.File
	f    *fetch
	at   int64
}

func (r *fetchReader) Close() error { return r.file.Close() }

func (r *fetchReader) Read(p []byte) (int, error) {
	r.f.mu.Lock()
	ready := func() int64 {
		if r.f.done || r.f.written < r.f.total {
			return r.f.written
		}
		return r.f.written - 1
	}
	for r.at >= ready() && !r.f.done {
		r.f.changed.Wait()
	}
	left, err := ready()-r.at, r.f.err
	r.f.mu.Unlock()
	switch {
	case err != nil:
		return 0, err
	case left <= 0:
		return 0, io.EOF
	}
	n, err := r.file.Read(p[:min(int64(len(p)), left)])
	r.at += int64(n)
	return n, err
}
