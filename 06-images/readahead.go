//go:build linux

package images

import "io"

// The room between two stages of a pipeline, in bytes: enough for neither to
// wait for the other at every read, small beside what a pull may use.
const (
	aheadChunks = 4
	aheadChunk  = 256 << 10
)

// readAhead is a reader whose source is read by a goroutine of its own, so that
// both sides of it work at the same time.
type readAhead struct {
	full  chan chunk
	free  chan []byte
	stop  chan struct{}
	ended chan struct{}
	cur   chunk
	rest  []byte
}

// chunk is what one round of reading gave, and the error after it.
type chunk struct {
	buf []byte
	err error
}

// newReadAhead starts reading r, which nobody else may read until Close.
func newReadAhead(r io.Reader) *readAhead {
	a := &readAhead{
		full:  make(chan chunk, aheadChunks),
		free:  make(chan []byte, aheadChunks),
		stop:  make(chan struct{}),
		ended: make(chan struct{}),
	}
	for range aheadChunks {
		a.free <- make([]byte, aheadChunk)
	}
	go a.fill(r)
	return a
}

func (a *readAhead) fill(r io.Reader) {
	defer close(a.ended)
	for {
		var buf []byte
		select {
		case buf = <-a.free:
		case <-a.stop:
			return
		}
		var n int
		var err error
		for n < len(buf) && err == nil { // io.ReadFull, but EOF stays EOF
			var m int
			m, err = r.Read(buf[n:])
			n += m
		}
		a.full <- chunk{buf[:n], err} // has room for every buffer there is
		if err != nil {
			return
		}
	}
}

func (a *readAhead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.cur.err != nil {
			return 0, a.cur.err
		}
		if a.cur.buf != nil {
			a.free <- a.cur.buf[:aheadChunk]
		}
		a.cur = <-a.full
		a.rest = a.cur.buf
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close waits until the source is no longer read. A read of the source that is
// under way is waited for; end it first where it may take long.
func (a *readAhead) Close() error {
	close(a.stop)
	<-a.ended
	return nil
}
