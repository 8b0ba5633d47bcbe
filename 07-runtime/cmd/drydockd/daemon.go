//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// grace is how long a daemon that was told to leave lets requests come to
// their end.
const grace = 10 * time.Second

// silence is how long it waits for the first request of a connection.
const silence = time.Second

// daemon serves the API on one socket and knows when nobody needs it.
type daemon struct {
	cfg      config
	log      *slog.Logger
	server   *http.Server
	busy     func() bool // the engine's part of being needed
	cancel   context.CancelFunc
	handlers sync.WaitGroup

	mu       sync.Mutex
	conns    map[net.Conn]bool // connections that speak HTTP; true: a request has been heard
	requests int               // handlers that run; those that took their connection out of HTTP have no conn
	used     time.Time         // when conns and requests were last not both empty
	changed  chan struct{}     // has an element after a change of conns
}

// connKey is the context key of the connection that a request came by.
type connKey struct{}

// newDaemon serves handler(ctx), where ctx ends when the daemon leaves.
func newDaemon(handler func(ctx context.Context) http.Handler, busy func() bool, cfg config, log *slog.Logger) *daemon {
	d := &daemon{cfg: cfg, log: log, busy: busy, conns: map[net.Conn]bool{}, used: time.Now(), changed: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	d.server = &http.Server{
		Handler:     d.counted(handler(ctx)),
		ConnState:   d.connState,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return d
}

// counted counts the requests that are being served.
func (d *daemon) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.handlers.Add(1)
		defer d.handlers.Done()
		conn := r.Context().Value(connKey{}).(net.Conn)
		d.count(func() { d.requests++; d.conns[conn] = true })
		defer d.count(func() { d.requests-- })
		next.ServeHTTP(w, r)
	})
}

func (d *daemon) connState(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		d.count(func() { d.conns[conn] = false })
	case http.StateHijacked, http.StateClosed:
		d.count(func() { delete(d.conns, conn) })
	}
}

func (d *daemon) count(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
	d.used = time.Now()
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// unused returns for how long nobody has been connected, and false when
// somebody is.
func (d *daemon) unused() (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Since(d.used), len(d.conns) == 0 && d.requests == 0
}

// serve returns when ctx ends or the daemon has been idle for long enough. The
// file that it returns is the turn (see takeTurn) under which it left.
func (d *daemon) serve(ctx context.Context, l *listener) (turn *os.File, err error) {
	defer d.cancel()
	for {
		failed := make(chan error, 1)
		go func() { failed <- d.server.Serve(l) }()
		leaving, err := d.wait(ctx, failed)
		if err != nil {
			return nil, err
		}
		if turn, err = takeTurn(d.cfg.state); err != nil {
			return nil, err
		}
		if err := l.refuse(); err != nil {
			return nil, err
		}
		// Serve ends when it has taken on the whole queue.
		<-failed
		l.Close()
		_, unused := d.unused()
		if leaving || unused && !d.busy() {
			break
		}
		// Somebody came in the last moment.
		if l, err = listen(d.cfg.socket); err != nil {
			return nil, err
		}
		turn.Close()
	}
	if err := os.Remove(d.cfg.socket); err != nil && !os.IsNotExist(err) {
		d.log.Warn("the socket stays", "error", err)
	}
	d.finish()
	return turn, nil
}

// wait returns when there is a reason to leave: leaving is true when the daemon
// was told to, false when nobody seems to need it.
func (d *daemon) wait(ctx context.Context, failed <-chan error) (leaving bool, err error) {
	alarm := time.NewTimer(d.cfg.idle)
	defer alarm.Stop()
	if d.cfg.idle == 0 {
		alarm.Stop()
	}
	for {
		select {
		case <-alarm.C:
			if d.busy() {
				// A container that runs is a use, too: the idle time begins at its end.
				d.count(func() {})
			}
			quiet, unused := d.unused()
			switch {
			case !unused:
				quiet = 0
			case quiet >= d.cfg.idle:
				return false, nil
			}
			alarm.Reset(d.cfg.idle - quiet)
		case <-ctx.Done():
			return true, nil
		case err := <-failed:
			return false, fmt.Errorf("accept on %s: %w", d.cfg.socket, err)
		}
	}
}

// finish ends waits and streams, and lets what changes something come to its end.
func (d *daemon) finish() {
	d.server.SetKeepAlivesEnabled(false)
	// net/http drops a request that it reads after Shutdown was called. Whoever is
	// connected is about to send one.
	d.hear()
	d.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := d.server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		d.log.Warn("requests were cut off", "after", grace)
		d.server.Close()
	}
	// An attach is none of the server's any more; its connection was closed with the context.
	d.handlers.Wait()
}

// hear returns when each connection has sent a request, and hangs up on those
// that stay silent.
func (d *daemon) hear() {
	patience := time.NewTimer(silence)
	defer patience.Stop()
	for {
		silent := d.silent()
		if len(silent) == 0 {
			return
		}
		select {
		case <-d.changed:
		case <-patience.C:
			for _, conn := range silent {
				conn.Close()
			}
			return
		}
	}
}

// silent returns the connections that no request has come by.
func (d *daemon) silent() []net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []net.Conn
	for conn, heard := range d.conns {
		if !heard {
			list = append(list, conn)
		}
	}
	return list
}
