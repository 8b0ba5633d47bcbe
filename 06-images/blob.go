//go:build linux

package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// errBroken marks a connection that ended in the middle.
var errBroken = errors.New("the connection broke")

// Blob opens a blob (end-2). The caller reads it, checks it and closes it. When
// a connection breaks in the middle, another is made that goes on from there.
func (r *Repository) Blob(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	return r.blobFrom(ctx, desc, 0)
}

// blobFrom is Blob from a place on.
func (r *Repository) blobFrom(ctx context.Context, desc ocispec.Descriptor, at int64) (io.ReadCloser, error) {
	b := &blobReader{ctx: ctx, repo: r, desc: desc, at: at}
	if err := b.open(); err != nil {
		return nil, fmt.Errorf("blob %s: %w", desc.Digest, err)
	}
	return b, nil
}

// BlobSize asks how many bytes a blob has (end-2, by HEAD), -1 where the
// registry does not say. The error is NotFound where the repository lacks it.
func (r *Repository) BlobSize(ctx context.Context, d digest.Digest) (int64, error) {
	resp, err := r.do(ctx, call{method: http.MethodHead, url: r.path("blobs", d.String()), accept: []int{http.StatusOK}})
	if err != nil {
		return 0, fmt.Errorf("blob %s: %w", d, err)
	}
	resp.Body.Close()
	return resp.ContentLength, nil
}

// blobReader is a blob that comes by one connection, or by several.
type blobReader struct {
	ctx      context.Context
	repo     *Repository
	desc     ocispec.Descriptor
	at       int64 // how many bytes have come
	failures int   // since the last byte came
	body     *body
}

// open asks for what is left of the blob.
func (b *blobReader) open() error {
	c := call{method: http.MethodGet, url: b.repo.path("blobs", b.desc.Digest.String()), accept: []int{http.StatusOK}}
	if b.at > 0 {
		c.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-", b.at)}}
		c.accept = []int{http.StatusOK, http.StatusPartialContent}
	}
	ctx, cancel := context.WithCancelCause(b.ctx)
	resp, err := b.repo.do(ctx, c) //nolint:bodyclose // b.body closes it
	if err != nil {
		cancel(nil)
		return err
	}
	stalled := errorf(errBroken, "nothing came from %s for %s", b.repo.base.Host, stallTimeout)
	b.body = &body{ctx, resp.Body, cancel, time.AfterFunc(stallTimeout, func() { cancel(stalled) })}

	// A registry that does not know ranges sends all of it again.
	skip, left := b.at, b.desc.Size
	if resp.StatusCode == http.StatusPartialContent {
		var from int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &from); err != nil || from != b.at {
			b.body.Close()
			return errorf(errdefs.ErrDataLoss, "asked for the bytes from %d on, got %q", b.at, resp.Header.Get("Content-Range"))
		}
		skip, left = 0, b.desc.Size-b.at
	}
	if resp.ContentLength >= 0 && resp.ContentLength != left {
		b.body.Close()
		return errorf(errdefs.ErrDataLoss, "the manifest says %d bytes, the registry sends %d", left, resp.ContentLength)
	}
	if _, err := io.CopyN(io.Discard, b.body, skip); err != nil {
		b.body.Close()
		return err
	}
	return nil
}

func (b *blobReader) Read(p []byte) (int, error) {
	for {
		n, err := b.body.Read(p)
		b.at += int64(n)
		if n > 0 {
			b.failures = 0
		}
		if err == nil || err == io.EOF && b.at >= b.desc.Size {
			return n, err
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if n > 0 {
			return n, nil // the break is met again by the next Read
		}
		if err := b.reopen(err); err != nil {
			return 0, err
		}
	}
}

// reopen goes on after a break, and fails where there were too many in one
// place.
func (b *blobReader) reopen(broken error) error {
	b.failures++
	if b.failures >= attempts || b.ctx.Err() != nil {
		return broken
	}
	// A break after some progress costs no waiting: there are networks that
	// cut every long transfer.
	if b.failures > 1 {
		if err := pause(b.ctx, firstDelay<<(b.failures-2)); err != nil {
			return err
		}
	}
	b.body.Close()
	return b.open()
}

func (b *blobReader) Close() error { return b.body.Close() }

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
