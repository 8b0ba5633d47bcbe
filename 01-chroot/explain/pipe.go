package explain

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"time"
)

// envFD names the environment variable that holds the number of the
// descriptor to which a child writes its records.
const envFD = "DRYDOCK_EXPLAIN_FD"

// Pipe returns the write end of a pipe whose records, one JSON object a line,
// are handed to ctx's handler, and the listener at its other end. Where nobody
// listens on ctx the file is nil, and the listener has nothing to wait for.
func Pipe(ctx context.Context) (*os.File, *Listener, error) {
	h := Handler(ctx)
	if h == nil {
		return nil, &Listener{}, nil
	}
	if p, ok := h.(inherited); ok {
		// This process hands on what it was given: its child may outlive it.
		fd, err := dup(p.fd)
		return fd, &Listener{}, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("a pipe for --explain: %w", err)
	}
	l := &Listener{w: w, marks: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		defer r.Close()
		forward(ctx, r, h, func() { l.marks <- struct{}{} })
	}()
	return w, l, nil
}

// A Listener hands over what comes through a [Pipe].
type Listener struct {
	w     *os.File
	marks chan struct{}
	done  chan struct{}
}

// Sync returns when all that was written to the pipe so far is handed over, so
// that what the caller narrates next stands below it. The caller still has the
// write end open.
func (l *Listener) Sync() {
	if l.w == nil {
		return
	}
	if _, err := l.w.Write([]byte("\n")); err != nil {
		return
	}
	select {
	case <-l.marks:
	case <-l.done:
	}
}

// Wait returns when every copy of the write end is closed and all is handed over.
func (l *Listener) Wait() {
	if l.done != nil {
		<-l.done
	}
}

// Env returns the environment entry that tells a child that descriptor fd is
// the write end of [Pipe].
func Env(fd int) string {
	return envFD + "=" + strconv.Itoa(fd)
}

// FromEnv returns ctx with a handler that writes to the descriptor named in
// the environment (see [Env]), and forgets the variable, so that no program
// that is executed later sees it. The file is nil where there is none.
func FromEnv(ctx context.Context) (context.Context, *os.File) {
	fd, err := strconv.Atoi(os.Getenv(envFD))
	if err != nil {
		return ctx, nil
	}
	os.Unsetenv(envFD)
	closeOnExec(fd)
	f := os.NewFile(uintptr(fd), "explain")
	return To(ctx, f), f
}

// To returns ctx with a handler that writes to f, which is the write end of
// another process's [Pipe] and is handed on to children.
func To(ctx context.Context, f *os.File) context.Context {
	return With(ctx, inherited{JSON(f), f})
}

// inherited is the handler of a process whose parent listens.
type inherited struct {
	slog.Handler
	fd *os.File
}

// JSON returns the handler whose output [Forward] reads.
func JSON(w io.Writer) slog.Handler {
	return slog.NewJSONHandler(w, nil)
}

// Forward hands each record that it reads from r to h, until r ends. Lines
// that are no record are passed over: a narrator is not worth a failure.
func Forward(ctx context.Context, r io.Reader, h slog.Handler) {
	forward(ctx, r, h, func() {})
}

// forward calls mark at each empty line.
func forward(ctx context.Context, r io.Reader, h slog.Handler, mark func()) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			mark()
			continue
		}
		var rec struct {
			Time    time.Time `json:"time"`
			Msg     string    `json:"msg"`
			Chapter int       `json:"chapter"`
			Why     string    `json:"why"`
		}
		if json.Unmarshal(lines.Bytes(), &rec) != nil {
			continue
		}
		out := slog.NewRecord(rec.Time, slog.LevelInfo, rec.Msg, 0)
		out.AddAttrs(slog.Int("chapter", rec.Chapter), slog.String("why", rec.Why))
		_ = h.Handle(ctx, out)
	}
}
