//go:build linux

package overlayfs

import (
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
)

// stream reads ahead: a goroutine reads the source, which is where a caller's
// decompression happens, and computes the digest, while the other end is
// unpacked. It works on few large blocks, so that the two meet seldom.
type stream struct {
	digester digest.Digester
	full     chan block
	free     chan []byte
	stop     chan struct{}
	wg       sync.WaitGroup

	rest []byte // of the block that is being read
	buf  []byte // that block
	err  error
}

type block struct {
	data []byte
	err  error
}

const (
	blockSize = 512 << 10
	blocks    = 4
)

func newStream(r io.Reader, digester digest.Digester) *stream {
	s := &stream{
		digester: digester,
		full:     make(chan block, blocks),
		free:     make(chan []byte, blocks),
		stop:     make(chan struct{}),
	}
	for range blocks {
		s.free <- nil
	}
	s.wg.Go(func() { s.readAhead(r) })
	return s
}

// readAhead fills blocks until the source ends or fails, or nobody wants more.
func (s *stream) readAhead(r io.Reader) {
	defer close(s.full)
	for {
		var buf []byte
		select {
		case buf = <-s.free:
		case <-s.stop:
		}
		select {
		case <-s.stop: // even when a block is free, too
			return
		default:
		}
		if buf == nil {
			buf = make([]byte, blockSize)
		}
		n, err := io.ReadFull(r, buf[:blockSize])
		if err == io.ErrUnexpectedEOF {
			err = io.EOF // an ordinary end, in the middle of a block
		}
		s.digester.Hash().Write(buf[:n])
		s.full <- block{data: buf[:n], err: err}
		if err != nil {
			return
		}
	}
}

// Read hands out what has been read ahead.
func (s *stream) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		if s.buf != nil {
			s.free <- s.buf
		}
		b := <-s.full
		s.buf, s.rest, s.err = b.data, b.data, b.err
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Close stops reading ahead and waits until the source is not read any more.
func (s *stream) Close() error {
	close(s.stop)
	s.wg.Wait()
	return nil
}

// Digest returns the digest of everything that the source gave. It is complete
// when Read has returned io.EOF and the stream is closed.
func (s *stream) Digest() digest.Digest { return s.digester.Digest() }
