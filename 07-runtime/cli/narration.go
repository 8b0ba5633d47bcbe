package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"drydock.example/01-chroot/explain"
)

// narration is what --explain shows: the client's own records, and those that
// the daemon, the shim, the runtime and the container's init send over a stream
// that the client names in the header of each request.
type narration struct {
	id      string
	handler slog.Handler

	once   sync.Once
	err    error
	client *http.Client
	ended  chan struct{} // closed when the daemon's stream has ended
}

// url is only a path: the host of a socket's URL means nothing.
func (n *narration) url() string { return "http://drydock/drydock/explain/" + n.id }

// open returns when the daemon is ready to send records.
func (n *narration) open(ctx context.Context, conn *connection) error {
	n.once.Do(func() { n.err = n.stream(ctx, conn) })
	return n.err
}

func (n *narration) stream(ctx context.Context, conn *connection) error {
	dial := conn.Dialer()
	n.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}
	// The stream outlives the command's context: what happens after an interrupt is part of the story.
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, n.url(), nil)
	if err != nil {
		return err
	}
	resp, err := n.client.Do(req) //nolint:bodyclose // closed by the goroutine that reads it
	if err != nil {
		return fmt.Errorf("--explain: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return fmt.Errorf("--explain: the daemon at %s answers %q: it is no Drydock daemon", conn.host, resp.Status)
	}
	n.ended = make(chan struct{})
	go func() {
		defer close(n.ended)
		defer resp.Body.Close()
		explain.Forward(ctx, resp.Body, n.handler)
	}()
	return nil
}

// close lets the daemon end the stream, and returns when all of it is shown.
func (n *narration) close() {
	if n == nil || n.ended == nil {
		return
	}
	req, err := http.NewRequest(http.MethodDelete, n.url(), nil)
	if err != nil {
		return
	}
	if resp, err := n.client.Do(req); err == nil {
		resp.Body.Close()
		<-n.ended
	}
	n.client.CloseIdleConnections()
}
