//go:build linux

package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/containerd/errdefs"

	"drydock.example/01-chroot/explain"
)

// explainHeader names the explain stream that hears of what a request does.
const explainHeader = "Drydock-Explain"

// sessions are the explain streams that clients hold open, by the ID that the
// client has chosen.
type sessions struct {
	mu   sync.Mutex
	open map[string]*session
}

func newSessions() *sessions { return &sessions{open: map[string]*session{}} }

// session is one open stream. Records that come after its end are dropped: they
// are of work that goes on for the engine's own sake.
type session struct {
	handler slog.Handler
	done    chan struct{} // closed by the client's DELETE

	mu    sync.Mutex
	w     http.ResponseWriter
	ended bool
}

// Write sends one record, at once.
func (s *session) Write(record []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return len(record), nil
	}
	n, err := s.w.Write(record)
	if err == nil {
		err = http.NewResponseController(s.w).Flush()
	}
	return n, err
}

// end waits for a record that is being written: w belongs to net/http again
// when the handler returns.
func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

// with returns ctx with the handler of the stream id, if there is one.
func (s *sessions) with(ctx context.Context, id string) context.Context {
	if id == "" {
		return ctx
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if session, ok := s.open[id]; ok {
		return explain.With(ctx, session.handler)
	}
	return ctx
}

func (s *sessions) add(id string, session *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.open[id]; taken {
		return errdefs.ErrAlreadyExists.WithMessage(fmt.Sprintf("explain stream %q is open already", id))
	}
	s.open[id] = session
	return nil
}

// remove returns the session that it takes out, nil when there is none.
func (s *sessions) remove(id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	session := s.open[id]
	delete(s.open, id)
	return session
}

// explain streams, one JSON object a line, what the requests that name {id} ask
// of the kernel. The headers come when the stream is ready for them.
func (s *server) explain(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	stream := &session{w: w, done: make(chan struct{})}
	stream.handler = explain.JSON(stream)
	if err := s.open(id, stream); err != nil {
		return err
	}
	defer s.sessions.remove(id)
	defer stream.end()
	select {
	case <-stream.done:
	case <-r.Context().Done():
	}
	return nil
}

// open makes the stream known and then sends the headers. Records wait for them:
// the client may make its first request as soon as it has them.
func (s *server) open(id string, stream *session) error {
	stream.mu.Lock()
	defer stream.mu.Unlock()
	if err := s.sessions.add(id, stream); err != nil {
		return err
	}
	stream.w.Header().Set("Content-Type", "application/jsonl")
	stream.w.WriteHeader(http.StatusOK)
	// A client that is gone ends the request's context.
	_ = http.NewResponseController(stream.w).Flush()
	return nil
}

// explainEnd ends the stream {id} when what has been recorded is sent.
func (s *server) explainEnd(w http.ResponseWriter, r *http.Request) error {
	stream := s.sessions.remove(r.PathValue("id"))
	if stream == nil {
		return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("no explain stream %q is open", r.PathValue("id")))
	}
	close(stream.done)
	w.WriteHeader(http.StatusNoContent)
	return nil
}
