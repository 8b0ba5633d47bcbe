//go:build linux

package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"golang.org/x/sys/unix"
)

// LogOptions choose what [Engine.ContainerLogs] writes.
type LogOptions struct {
	Stdout, Stderr bool
	Follow         bool      // go on until the container stops or the context ends
	Timestamps     bool      // RFC 3339 with nanoseconds and a blank before each line
	Since, Until   time.Time // zero: no bound
	Tail           int       // last lines only; negative: all
}

// ContainerLogs writes what the container wrote, framed as ContainerAttach's output. With Follow
// it goes on until the container stops or ctx ends.
func (e *Engine) ContainerLogs(ctx context.Context, id string, opt LogOptions, w io.Writer) error {
	c, err := e.find(id)
	if err != nil {
		return err
	}
	rec, _, _ := c.snapshot()
	run := c.running()
	log, err := openLog(c.dir(logFile), opt, rec.Config.Tty)
	if err != nil {
		return err
	}
	defer log.Close()

	copyAll := func() error {
		for {
			entry, err := log.next()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if _, err := w.Write(entry); err != nil {
				return err
			}
		}
	}
	if !opt.Follow || run == nil {
		return copyAll()
	}

	watch, err := watchFile(c.dir(logFile))
	if err != nil {
		return err
	}
	defer watch.Close()
	// The end of the run, of the caller's patience or of the engine wakes the watch up.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, watch.wake)()
	defer context.AfterFunc(e.ctx, cancel)()
	ended := make(chan struct{})
	defer func() { <-ended }()
	defer cancel()
	go func() {
		defer close(ended)
		select {
		case <-run.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		if err := copyAll(); err != nil {
			return err
		}
		if log.past(opt.Until) {
			return nil
		}
		if ctx.Err() != nil {
			break
		}
		if err := watch.wait(); err != nil && ctx.Err() == nil {
			return err
		}
	}
	select {
	case <-run.ended:
		return copyAll() // the shim has written its last line
	default:
		return context.Cause(ctx)
	}
}

// logEntry is one line of a json-file log.
type logEntry struct {
	Log    string    `json:"log"`
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
}

// logReader reads entries as they are to be sent.
type logReader struct {
	file *os.File
	in   *bufio.Reader
	opt  LogOptions
	tty  bool
	part []byte    // the beginning of a line that is not complete yet
	last time.Time // of the entry that was read last
}

// openLog opens a log at the first line that opt.Tail wants. A log that is not there is empty.
func openLog(path string, opt LogOptions, tty bool) (*logReader, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if opt.Tail >= 0 {
		offset, err := tailOffset(f, opt.Tail)
		if err == nil {
			_, err = f.Seek(offset, io.SeekStart)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return &logReader{file: f, in: bufio.NewReaderSize(f, 32<<10), opt: opt, tty: tty}, nil
}

func (l *logReader) Close() error { return l.file.Close() }

// past tells whether the log has reached the time t; zero is never reached.
func (l *logReader) past(t time.Time) bool { return !t.IsZero() && l.last.After(t) }

// next returns the next entry that is wanted, or io.EOF when the log has no further complete
// line, which may change.
func (l *logReader) next() ([]byte, error) {
	for {
		line, err := l.in.ReadBytes('\n')
		l.part = append(l.part, line...)
		if err != nil {
			return nil, err
		}
		line, l.part = l.part, nil
		var entry logEntry
		if err := json.Unmarshal(line, &entry); err != nil {
			return nil, fmt.Errorf("%s: line %.80q: %w", l.file.Name(), line, err)
		}
		l.last = entry.Time
		if l.past(l.opt.Until) {
			return nil, io.EOF
		}
		if entry.Time.Before(l.opt.Since) {
			continue
		}
		if entry.Stream == "stderr" && l.opt.Stderr {
			return l.frame(entry, stdcopy.Stderr), nil
		}
		if entry.Stream == "stdout" && l.opt.Stdout {
			return l.frame(entry, stdcopy.Stdout), nil
		}
	}
}

// frame puts the time and stdcopy's header before an entry's text.
func (l *logReader) frame(entry logEntry, stream stdcopy.StdType) []byte {
	var out []byte
	if !l.tty {
		out = make([]byte, 8, 8+40+len(entry.Log))
	}
	if l.opt.Timestamps {
		out = entry.Time.UTC().AppendFormat(out, "2006-01-02T15:04:05.000000000Z07:00")
		out = append(out, ' ')
	}
	out = append(out, entry.Log...)
	if !l.tty {
		out[0] = byte(stream)
		binary.BigEndian.PutUint32(out[4:8], uint32(len(out)-8))
	}
	return out
}

// tailOffset returns where the last n complete lines of f begin, reading from its end.
func tailOffset(f *os.File, n int) (int64, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return end, err
	}
	lines := -1 // the newline that ends the last line begins none
	block := make([]byte, 16<<10)
	for at := end; at > 0; {
		size := min(at, int64(len(block)))
		at -= size
		b := block[:size]
		if _, err := f.ReadAt(b, at); err != nil {
			return 0, err
		}
		for {
			i := bytes.LastIndexByte(b, '\n')
			if i < 0 {
				break
			}
			if lines++; lines == n {
				return at + int64(i) + 1, nil
			}
			b = b[:i]
		}
	}
	return 0, nil
}

// fileWatch waits for writes to a file, by inotify(7).
type fileWatch struct {
	file *os.File
}

func watchFile(path string) (*fileWatch, error) {
	// Non-blocking, so that Go's poller waits for it and a deadline can end a read.
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "inotify_add_watch", Path: path, Err: err}
	}
	return &fileWatch{os.NewFile(uintptr(fd), "inotify")}, nil
}

// wait returns when the file has been written to since the last wait, or on wake.
func (w *fileWatch) wait() error {
	var events [4096]byte
	_, err := w.file.Read(events[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// wake ends the present wait and all later ones.
func (w *fileWatch) wake() { w.file.SetReadDeadline(time.Unix(1, 0)) }

func (w *fileWatch) Close() error { return w.file.Close() }
