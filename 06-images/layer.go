//go:build linux

package images

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layer makes one layer be here, blob and files: the blob is fetched from repo
// unless it is here already. Several callers for one layer share the work.
func (s *Store) layer(ctx context.Context, repo *Repository, desc ocispec.Descriptor, diffID digest.Digest, progress func(Progress)) error {
	id := shortID(desc.Digest.Encoded())
	known, err := s.knownDiffID(desc.Digest)
	if err != nil {
		return err
	}
	if known != "" && known != diffID {
		return errorf(errdefs.ErrDataLoss, "layer %s: diff ID does not match: the config says %s, the layer unpacks to %s", desc.Digest, diffID, known)
	}
	if known != "" && s.content.Has(desc.Digest) && s.layers.Has(diffID) {
		progress(Progress{ID: id, Status: "Already exists"})
		return nil
	}
	key := desc.Digest.String() + " " + diffID.String()
	return s.flights.do(ctx, key, progress, func(ctx context.Context, progress func(Progress)) error {
		if err := s.fetchLayer(ctx, repo, desc, diffID, progress); err != nil {
			return fmt.Errorf("layer %s: %w", id, err)
		}
		progress(Progress{ID: id, Status: "Pull complete"})
		return s.recordDiffID(desc.Digest, diffID)
	})
}

// fetchLayer streams a layer once: from the network through the check of its
// digest and into the blob, and at the same time through the decompressor and
// the check of its diff ID into the layer's directory. Both checks come before
// either gets its name.
func (s *Store) fetchLayer(ctx context.Context, repo *Repository, desc ocispec.Descriptor, diffID digest.Digest, progress func(Progress)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.content.Has(desc.Digest) {
		progress(Progress{ID: shortID(desc.Digest.Encoded()), Status: "Extracting"})
		return s.unpackBlob(ctx, desc.Digest, diffID)
	}

	body, err := repo.Blob(ctx, desc)
	if err != nil {
		return err
	}
	defer body.Close()
	blob, err := s.content.Writer(desc.Digest)
	if err != nil {
		return err
	}
	defer blob.Close()
	chapter.Call(ctx, "the compressed layer, under a temporary name until its digest is checked",
		"openat(AT_FDCWD, %q, O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0600)", blob.file.Name())
	source := &verified{body: body, blob: blob, size: desc.Size, progress: downloading(desc, progress), done: func() {
		progress(Progress{ID: shortID(desc.Digest.Encoded()), Status: "Download complete"})
	}}
	if err := s.unpack(ctx, cancel, source, diffID); err != nil {
		if source.err != nil && source.err != io.EOF {
			return source.err // the cause; what the readers behind it said only follows
		}
		return err
	}
	chapter.Call(ctx, "checked, so it gets its name", "rename(%q, %q)", blob.file.Name(), s.content.path(desc.Digest))
	return blob.Commit()
}

// unpackBlob unpacks a layer whose blob is here. A blob that has changed on disk
// since it was checked is removed, so that the next pull fetches it.
func (s *Store) unpackBlob(ctx context.Context, blob, diffID digest.Digest) error {
	f, err := s.content.Open(blob)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.unpack(ctx, func() {}, f, diffID); err != nil {
		if ctx.Err() == nil && errdefs.IsDataLoss(s.content.Check(blob)) {
			return errors.Join(err, s.content.Remove(blob))
		}
		return err
	}
	return nil
}

// unpack decompresses a layer and applies it (chapter 4). It returns nil only
// when all of compressed was read without an error, and the tar has the digest
// diffID. It calls interrupt, which ends a read of compressed that waits, when
// it needs no more.
func (s *Store) unpack(ctx context.Context, interrupt func(), compressed io.Reader, diffID digest.Digest) error {
	// Three goroutines work at the same time: one reads the network, hashes and
	// keeps the blob, one inflates and hashes the tar (it is in Apply), and
	// this one writes files.
	ahead := newReadAhead(contextReader{ctx, compressed})
	defer func() {
		interrupt() // or Close would wait for a silent registry
		ahead.Close()
	}()
	plain, err := decompress(ahead)
	if err != nil {
		return err
	}
	defer plain.Close()

	if s.layers.Has(diffID) {
		// Another blob unpacks to this layer. That this one does, too, is
		// what its manifest claims.
		got, err := diffID.Algorithm().FromReader(plain)
		if err != nil {
			return err
		}
		if got != diffID {
			return errorf(errdefs.ErrDataLoss, "diff ID does not match: the config says %s, the layer unpacks to %s", diffID, got)
		}
		return nil
	}
	_, err = s.layers.Apply(ctx, diffID, plain)
	if _, ours := errors.AsType[syscall.Errno](err); err != nil && !ours {
		// A damaged blob is nonsense to whoever reads it first. Its end says
		// what it is, to the reader that compares digests.
		_, _ = io.Copy(io.Discard, ahead)
	}
	return err
}

// verified reads a blob from the network, writes it to disk on the way, and
// gives io.EOF only when the bytes were those of the digest: a reader that got
// to the end has read nothing else.
type verified struct {
	body     io.Reader
	blob     *BlobWriter
	size     int64 // what the manifest says
	progress func(current int64)
	done     func() // called at the end, when all is well
	err      error  // what ended the reading
}

func (v *verified) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.body.Read(p)
	if _, werr := v.blob.Write(p[:n]); werr != nil {
		v.err = werr
		return 0, werr
	}
	v.progress(v.blob.size)
	switch {
	case v.blob.size > v.size:
		err = errorf(errdefs.ErrDataLoss, "blob %s is larger than the %d bytes that its manifest states", v.blob.want, v.size)
	case err == io.EOF && v.blob.size < v.size:
		err = errorf(errdefs.ErrUnavailable, "blob %s ended after %d of %d bytes: %w", v.blob.want, v.blob.size, v.size, io.ErrUnexpectedEOF)
	case err == io.EOF:
		if verr := v.blob.Verify(); verr != nil {
			err = verr
			break
		}
		v.done()
	case err != nil && !errors.Is(err, context.Canceled):
		err = errorf(errdefs.ErrUnavailable, "blob %s: the connection ended after %d of %d bytes: %w", v.blob.want, v.blob.size, v.size, err)
	}
	v.err = err
	return n, err
}

// downloading returns a function that reports how far a layer is, ten times a
// second at most.
func downloading(desc ocispec.Descriptor, progress func(Progress)) func(int64) {
	id := shortID(desc.Digest.Encoded())
	var last time.Time
	return func(current int64) {
		if now := time.Now(); now.Sub(last) > 100*time.Millisecond {
			last = now
			progress(Progress{ID: id, Status: "Downloading", Current: current, Total: desc.Size})
		}
	}
}

// maxZstdWindow is what zstd --ultra -22 needs; a frame may ask for more, but
// not of us.
const maxZstdWindow = 128 << 20

// decompress returns the tar in a layer's blob. How it is compressed is read
// from its first bytes. At its end the blob has been read to the end as well.
func decompress(blob io.Reader) (io.ReadCloser, error) {
	// A *bufio.Reader because the inflater has a faster path for that type.
	b := bufio.NewReaderSize(blob, 64<<10)
	magic, err := b.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case len(magic) >= 2 && magic[0] == 0x1f && magic[1] == 0x8b:
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		return &drained{z, b, func() { z.Close() }}, nil
	case string(magic) == "\x28\xb5\x2f\xfd":
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		return &drained{z, b, z.Close}, nil
	default:
		return io.NopCloser(b), nil
	}
}

// drained reads plain, and at its end what is left of source, whose error it
// passes on: there the blob's digest is checked.
type drained struct {
	plain  io.Reader
	source io.Reader
	close  func()
}

func (d *drained) Read(p []byte) (int, error) {
	n, err := d.plain.Read(p)
	if err == io.EOF {
		if _, derr := io.Copy(io.Discard, d.source); derr != nil {
			return n, derr
		}
	}
	return n, err
}

func (d *drained) Close() error {
	d.close()
	return nil
}
