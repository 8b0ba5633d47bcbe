// Package explain narrates what a program asks of the kernel.
//
// A kernel operation is one slog record: its message is the call as strace
// would print it, its attributes are the chapter that explains the call and
// the reason why it is made. The record is written where the call is made,
// just before it, so that the narration cannot tell another story than the
// code:
//
//	chapter.Call(ctx, "so that no mount of ours reaches the host",
//		"mount(NULL, %q, NULL, MS_REC|MS_PRIVATE, NULL)", "/")
//	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
//
// Who listens is decided by the context: [With] adds a handler, and without
// one a Call costs a map-free lookup of a few nanoseconds. A program shows the
// records with [Text]; a child process, which has another context, sends them
// to its parent through [Pipe] and [FromEnv].
package explain

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Chapter is the number of the chapter that explains a call, 1 to 7.
type Chapter int

// handlerKey is the context key of the handler that [With] sets.
type handlerKey struct{}

// With returns a context whose Calls go to h.
func With(ctx context.Context, h slog.Handler) context.Context {
	return context.WithValue(ctx, handlerKey{}, h)
}

// Handler returns the handler that [With] put into ctx, or nil.
func Handler(ctx context.Context) slog.Handler {
	h, _ := ctx.Value(handlerKey{}).(slog.Handler)
	return h
}

// Call records one kernel operation, written as strace would print it, and why
// it is made. It does nothing, not even format, when nobody listens on ctx.
func (c Chapter) Call(ctx context.Context, why, format string, args ...any) {
	h := Handler(ctx)
	if h == nil {
		return
	}
	r := slog.NewRecord(time.Now(), slog.LevelInfo, fmt.Sprintf(format, args...), 0)
	r.AddAttrs(slog.Int("chapter", int(c)), slog.String("why", why))
	// A narration that cannot be written must not stop the work it narrates.
	_ = h.Handle(ctx, r)
}

// Text returns a handler that writes one numbered line for each record:
//
//	3  ch2  sethostname("box", 3)  # its own name, which the host does not see
func Text(w io.Writer) slog.Handler {
	return &textHandler{w: w}
}

type textHandler struct {
	mu sync.Mutex
	n  int
	w  io.Writer
}

func (h *textHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h *textHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *textHandler) WithGroup(string) slog.Handler            { return h }

func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	var chapter, why string
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "chapter":
			chapter = a.Value.String()
		case "why":
			why = a.Value.String()
		}
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	_, err := fmt.Fprintf(h.w, "%3d  ch%s  %s  # %s\n", h.n, chapter, r.Message, why)
	return err
}
