//go:build linux

package overlayfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// bufferSize is the largest file, in bytes, that is handed to a writer whole.
const bufferSize = 256 << 10

// writers fill small files. Making a file is one half of the work and has an
// order, which the archive gives; writing it, naming its owner and closing it
// is the other half and has none, since each job owns its descriptor. So the
// reader of the archive goes on to the next entry meanwhile.
type writers struct {
	jobs chan job
	free chan []byte // buffers; their number bounds the memory and the open files
	wg   sync.WaitGroup
}

type job struct {
	fd         int
	data       []byte
	header     *tar.Header
	attributes attributes
}

// startWriters starts a small pool. Its first error goes to fail.
func startWriters(fail func(error)) *writers {
	n := min(runtime.GOMAXPROCS(0), 4)
	w := &writers{jobs: make(chan job, 8*n), free: make(chan []byte, 8*n)}
	for range cap(w.free) {
		w.free <- nil
	}
	for range n {
		w.wg.Go(func() {
			for j := range w.jobs {
				if err := j.run(); err != nil {
					fail(fmt.Errorf("unpack %.200q: %w", j.header.Name, err))
				}
				w.free <- j.data[:0]
			}
		})
	}
	return w
}

// wait returns when every file that was handed over is written.
func (w *writers) wait() {
	close(w.jobs)
	w.wg.Wait()
}

func (j job) run() error {
	defer unix.Close(j.fd)
	if err := writeAll(j.fd, j.data); err != nil {
		return &os.PathError{Op: "write", Path: j.header.Name, Err: err}
	}
	return j.attributes.apply(j.fd, j.header)
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// file makes a regular file and fills it.
func (u *unpacker) file(ctx context.Context, parent *dir, base string, h *tar.Header, data io.Reader) error {
	sparse := isSparse(h)
	switch {
	case sparse && h.Size > u.holes:
		return fmt.Errorf("a sparse file of %d bytes, and %d are left of the file system's size: %w", h.Size, u.holes, unix.EFBIG)
	case sparse:
		u.holes -= h.Size
	case !sparse && h.Size > u.room:
		return fmt.Errorf("%d bytes, and %d are free: %w", h.Size, u.room, unix.ENOSPC)
	case !sparse:
		u.room -= h.Size
	}
	u.size += h.Size
	var fd int
	err := u.place(parent, base, func() (err error) {
		fd, err = unix.Openat(parent.fd, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(h.Mode)&0o777)
		if err != nil {
			return &os.PathError{Op: "openat", Path: parent.join(base), Err: err}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if h.Size <= bufferSize && !sparse {
		buf := <-u.writers.free
		if cap(buf) < int(h.Size) {
			buf = make([]byte, bufferSize)
		}
		buf = buf[:h.Size]
		if _, err := io.ReadFull(data, buf); err != nil {
			unix.Close(fd)
			u.writers.free <- buf
			return badArchive(err)
		}
		u.writers.jobs <- job{fd: fd, data: buf, header: h, attributes: u.attributes}
		return nil
	}
	defer unix.Close(fd)
	if err := fill(ctx, fd, h, data, sparse); err != nil {
		return err
	}
	return u.attributes.apply(fd, h)
}

// isSparse says whether the archive holds only the written parts of the file.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for record := range h.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// A piece of a file that holds only zeros becomes a hole. Of what an archive
// calls sparse that is done page by page. Other large files keep their extents
// in one piece, unless there is nothing for long: a layer has no word of its own
// for the holes of a container's file ([Diff]), and this gives them back.
const (
	page     = 4 << 10
	longHole = 64 << 10
)

// fill writes a large file block by block.
func fill(ctx context.Context, fd int, h *tar.Header, data io.Reader, sparse bool) error {
	piece := longHole
	if sparse {
		piece = page
	}
	buf := make([]byte, 1<<20)
	for off := int64(0); off < h.Size; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b := buf[:min(int64(len(buf)), h.Size-off)]
		if _, err := io.ReadFull(data, b); err != nil {
			return badArchive(err)
		}
		if err := writeData(fd, b, off, piece); err != nil {
			return &os.PathError{Op: "write", Path: h.Name, Err: err}
		}
		off += int64(len(b))
	}
	if err := unix.Ftruncate(fd, h.Size); err != nil { // it may end in a hole
		return &os.PathError{Op: "ftruncate", Path: h.Name, Err: err}
	}
	return nil
}

var zeros [longHole]byte

// writeData writes to offset off those pieces of b that hold something, as many
// as stand together by one call.
func writeData(fd int, b []byte, off int64, piece int) error {
	empty := func(at int) bool {
		p := b[at:min(at+piece, len(b))]
		return bytes.Equal(p, zeros[:len(p)])
	}
	for at := 0; at < len(b); {
		if empty(at) {
			at += piece
			continue
		}
		end := at + piece
		for end < len(b) && !empty(end) {
			end += piece
		}
		for end = min(end, len(b)); at < end; {
			n, err := unix.Pwrite(fd, b[at:end], off+int64(at))
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return err
			}
			at += n
		}
	}
	return nil
}
