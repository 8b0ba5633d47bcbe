//go:build linux

package images

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// blobUpload sends one blob to a registry (distribution specification, section
// "Push").
type blobUpload struct {
	repo     *Repository
	desc     ocispec.Descriptor
	chunk    int64 // 0: all in one request
	progress func(Progress)

	location *url.URL // where the upload goes on; nil: not begun
	at       int64    // how many bytes the registry has
	done     bool     // it has all of them, although its answer got lost
}

// run makes the registry have the blob, by the cheapest way that there is.
func (u *blobUpload) run(ctx context.Context, mountFrom []string, from source) error {
	has, err := u.repo.has(ctx, u.desc.Digest)
	if err != nil {
		return err
	}
	if has {
		u.progress(Progress{Status: "Layer already exists"})
		return nil
	}
	// An upload that was begun because a mount was refused is as good as any.
	for _, repository := range mountFrom {
		mounted, err := u.start(ctx, repository)
		if err != nil {
			return err
		}
		if mounted {
			u.progress(Progress{Status: "Mounted from " + repository})
			return nil
		}
	}
	if err := u.send(ctx, from); err != nil {
		return fmt.Errorf("blob %s: %w", u.desc.Digest, err)
	}
	u.progress(Progress{Status: "Pushed"})
	return nil
}

// start begins the upload (end-4a). Where from names a repository, the registry
// is asked to take the blob from there instead (end-11), and may do so.
func (u *blobUpload) start(ctx context.Context, from string) (mounted bool, err error) {
	where := u.repo.path("blobs/uploads/")
	if from != "" {
		where.RawQuery = url.Values{"mount": {u.desc.Digest.String()}, "from": {from}}.Encode()
	}
	resp, err := u.repo.do(ctx, call{method: http.MethodPost, url: where, body: bytesBody(nil), accept: []int{http.StatusCreated, http.StatusAccepted}})
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusCreated {
		return true, nil
	}
	if least, err := strconv.ParseInt(resp.Header.Get("OCI-Chunk-Min-Length"), 10, 64); err == nil && u.chunk > 0 {
		u.chunk = max(u.chunk, least)
	}
	u.at = 0
	return false, u.follow(resp)
}

// follow takes the place where an upload goes on from an answer.
func (u *blobUpload) follow(resp *http.Response) error {
	location, err := resp.Location()
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	// A registry chooses any place for its uploads; what it asks of the user
	// must not travel less well guarded there than to itself.
	if location.Scheme != u.repo.base.Scheme && location.Scheme != "https" {
		return errorf(errdefs.ErrFailedPrecondition, "registry %s sends an upload to %s, without TLS", u.repo.base.Host, location.Host)
	}
	u.location = location
	return nil
}

// source gives the bytes of a blob from a place on. They may come from a file, or
// from another registry.
type source func(at int64) (io.ReadCloser, error)

// fileSource is a blob in a file.
func fileSource(f io.ReaderAt, size int64) source {
	return func(at int64) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(f, at, size-at)), nil
	}
}

// send sends the blob. After a break it asks how far the registry got and
// goes on there, and begins again where the registry knows no more.
func (u *blobUpload) send(ctx context.Context, from source) error {
	failures := 0
	for {
		if u.location == nil { // where that fails, it was tried often enough
			if mounted, err := u.start(ctx, ""); mounted || err != nil {
				return err
			}
		}
		start := u.at
		err := u.sendRest(ctx, from)
		if err == nil || !transient(err) {
			return err
		}
		if failures++; failures == attempts || pause(ctx, delay(failures, err)) != nil {
			return err
		}
		if err := u.resume(ctx); err != nil || u.done {
			return err
		}
		if u.at > start {
			failures = 0
		}
	}
}

// sendRest sends what the registry does not have yet.
func (u *blobUpload) sendRest(ctx context.Context, from source) error {
	for u.chunk > 0 && u.desc.Size-u.at > u.chunk {
		resp, err := u.part(ctx, from, http.MethodPatch, *u.location, u.at+u.chunk)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if err := u.follow(resp); err != nil {
			return err
		}
		u.at += u.chunk
	}
	to := *u.location
	query := to.Query() // the registry may keep its own notes there
	query.Set("digest", u.desc.Digest.String())
	to.RawQuery = query.Encode()
	resp, err := u.part(ctx, from, http.MethodPut, to, u.desc.Size)
	if err != nil {
		return err
	}
	resp.Body.Close()
	return nil
}

// part sends the bytes from u.at to end, not included. It is not repeated
// as it is: after a break the registry may have some of them.
func (u *blobUpload) part(ctx context.Context, from source, method string, to url.URL, end int64) (*http.Response, error) {
	size := end - u.at
	c := call{
		method: method,
		url:    &to,
		header: http.Header{"Content-Type": {"application/octet-stream"}},
		size:   size,
		accept: []int{http.StatusAccepted, http.StatusCreated, http.StatusNoContent},
		body: func() (io.Reader, error) {
			r, err := from(u.at)
			if err != nil {
				return nil, err
			}
			return &sending{r: io.LimitReader(r, size), Closer: r, from: u.at, total: u.desc.Size, progress: u.progress}, nil
		},
	}
	if size == 0 {
		c.body = bytesBody(nil)
	} else if u.chunk > 0 || u.at > 0 {
		c.header.Set("Content-Range", fmt.Sprintf("%d-%d", u.at, end-1))
	}
	return u.repo.once(ctx, c)
}

// resume finds out how far the upload got (end-13).
func (u *blobUpload) resume(ctx context.Context) error {
	if u.location == nil {
		return nil
	}
	resp, err := u.repo.do(ctx, call{method: http.MethodGet, url: u.location, accept: []int{http.StatusNoContent, http.StatusNotFound}})
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		u.location, u.at = nil, 0
		u.done, err = u.repo.has(ctx, u.desc.Digest)
		return err
	}
	end, ok := strings.CutPrefix(strings.TrimPrefix(resp.Header.Get("Range"), "bytes="), "0-")
	n, err := strconv.ParseInt(end, 10, 64)
	if !ok || err != nil || n < 0 || n >= u.desc.Size || n == 0 {
		// "0-0" says one byte or none: begin again rather than guess.
		u.location, u.at = nil, 0
		return nil
	}
	u.at = n + 1
	if resp.Header.Get("Location") == "" {
		return nil
	}
	return u.follow(resp)
}

// sending is the body of a request that tells how far it is, ten times a second
// at most. The HTTP client closes it.
type sending struct {
	io.Closer
	r        io.Reader
	from     int64
	total    int64
	progress func(Progress)
	sent     int64
	last     time.Time
}

func (s *sending) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.sent += int64(n)
	if now := time.Now(); now.Sub(s.last) > 100*time.Millisecond {
		s.last = now
		s.progress(Progress{Status: "Pushing", Current: s.from + s.sent, Total: s.total})
	}
	return n, err
}

// bytesBody is the body of a call that is in memory.
func bytesBody(b []byte) func() (io.Reader, error) {
	return func() (io.Reader, error) { return bytes.NewReader(b), nil }
}
