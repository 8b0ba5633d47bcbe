//go:build linux

package supervisor

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"drydock.example/07-runtime/shim"
)

const (
	// inMemory is how many bytes wait in memory for a client that reads slowly.
	inMemory = 1 << 20
	// onDisk is how many wait in a file after that. A client that falls behind
	// further is dropped.
	onDisk = 1 << 30
	// patience is how long the shim stays, when all else is done, for a client
	// that takes nothing of what it still has to get.
	patience = 10 * time.Minute
)

// A queue is the output that one attached client has still to get. Writing to
// it never waits for the client: a container must not stop because somebody's
// terminal did.
type queue struct {
	opt  shim.AttachOptions
	raw  bool // a terminal's output has no frames
	conn *net.UnixConn
	dir  string // where the file is made

	mu    sync.Mutex
	ready sync.Cond
	// What is older is in memory, what is newer in the file, from read to written.
	memory        []byte
	file          *os.File
	read, written int64
	ended         bool
	dropped       bool
}

func newQueue(conn *net.UnixConn, opt shim.AttachOptions, conf shim.Config) *queue {
	q := &queue{opt: opt, raw: conf.Terminal, conn: conn, dir: filepath.Dir(conf.Exit)}
	q.ready.L = &q.mu
	return q
}

func (q *queue) wants(stream byte) bool {
	return stream == stdout && q.opt.Stdout || stream == stderr && q.opt.Stderr
}

// write appends a piece of output.
func (q *queue) write(stream byte, b []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.dropped {
		return
	}
	if !q.raw {
		header := [8]byte{0: stream}
		binary.BigEndian.PutUint32(header[4:], uint32(len(b)))
		q.append(header[:])
	}
	q.append(b)
	q.ready.Signal()
}

func (q *queue) append(b []byte) {
	if q.written == 0 && len(q.memory)+len(b) <= inMemory {
		q.memory = append(q.memory, b...)
		return
	}
	if err := q.appendFile(b); err != nil {
		q.drop()
	}
}

func (q *queue) appendFile(b []byte) error {
	if q.written+int64(len(b)) > onDisk {
		return errors.New("the client is too far behind")
	}
	if q.file == nil {
		fd, err := unix.Open(q.dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return &os.PathError{Op: "open O_TMPFILE", Path: q.dir, Err: err}
		}
		q.file = os.NewFile(uintptr(fd), "output")
	}
	n, err := q.file.WriteAt(b, q.written)
	q.written += int64(n)
	return err
}

// next waits for output and returns some, or false at the end.
func (q *queue) next(buf []byte) ([]byte, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.memory) == 0 && q.read == q.written && !q.ended && !q.dropped {
		q.ready.Wait()
	}
	switch {
	case q.dropped:
		return nil, false
	case len(q.memory) > 0:
		n := copy(buf, q.memory)
		q.memory = q.memory[n:]
		if len(q.memory) == 0 {
			q.memory = nil // a burst's memory is not kept
		}
		return buf[:n], true
	case q.read < q.written:
		n, _ := q.file.ReadAt(buf[:min(int64(len(buf)), q.written-q.read)], q.read)
		if n == 0 {
			return nil, false
		}
		if q.read += int64(n); q.read == q.written {
			q.read, q.written = 0, 0
			q.file.Truncate(0)
		}
		return buf[:n], true
	}
	return nil, false
}

// send writes the output to the client until its end.
func (q *queue) send() {
	buf := make([]byte, 32<<10)
	for {
		b, ok := q.next(buf)
		if !ok {
			return
		}
		if _, err := q.conn.Write(b); err != nil {
			q.mu.Lock()
			q.drop()
			q.mu.Unlock()
			return
		}
		q.mu.Lock()
		if q.ended {
			q.conn.SetWriteDeadline(time.Now().Add(patience))
		}
		q.mu.Unlock()
	}
}

// close tells that no more output will come.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.conn.SetWriteDeadline(time.Now().Add(patience))
	q.ready.Signal()
}

// drop gives the client up. The lock is held.
func (q *queue) drop() {
	q.dropped = true
	q.memory = nil
	q.conn.Close()
	q.ready.Signal()
}

// free releases the file.
func (q *queue) free() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.file != nil {
		q.file.Close()
	}
}
