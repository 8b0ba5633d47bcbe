//go:build linux

package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types"

	"drydock.example/07-runtime/engine"
)

// errNoStream is Docker's answer to a request for logs or an attach that asks
// for no stream.
var errNoStream = errdefs.ErrInvalidArgument.WithMessage("Bad parameters: you must choose at least one stream")

// mediaType says how the streams of the container id are framed.
func (s *server) mediaType(r *http.Request, id string) (types.MediaType, error) {
	c, err := s.engine.ContainerInspect(r.Context(), id)
	if err != nil {
		return "", err
	}
	return framed(r, c.Config.Tty), nil
}

// framed says how streams are framed: a terminal's output is sent as it is,
// else each piece has stdcopy's 8-byte header. Clients before API 1.42 do not
// know the second name, and find out by an inspect.
func framed(r *http.Request, tty bool) types.MediaType {
	if minor, ok := apiMinor(r.Context()); tty || ok && minor < 42 {
		return types.MediaTypeRawStream
	}
	return types.MediaTypeMultiplexedStream
}

func (s *server) containerLogs(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	opt := engine.LogOptions{
		Stdout: flag(r, "stdout"), Stderr: flag(r, "stderr"),
		Follow: flag(r, "follow"), Timestamps: flag(r, "timestamps"),
		Tail: -1,
	}
	if !opt.Stdout && !opt.Stderr {
		return errNoStream
	}
	var err error
	if opt.Since, err = timestamp(r, "since"); err != nil {
		return err
	}
	if opt.Until, err = timestamp(r, "until"); err != nil {
		return err
	}
	// Docker reads a tail that is no number as "all".
	if n, err := strconv.Atoi(r.URL.Query().Get("tail")); err == nil {
		opt.Tail = n
	}
	mediaType, err := s.mediaType(r, id)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", mediaType)
	out := &flushed{w: w}
	if opt.Follow {
		// The client waits for lines that may not be there for a long time.
		out.flush()
	}
	err = s.engine.ContainerLogs(r.Context(), id, opt, out)
	if out.begun {
		if err != nil && r.Context().Err() == nil {
			s.log.Error("logs ended early", "container", id, "error", err)
		}
		return nil
	}
	return err
}

// flushed sends what is written at once.
type flushed struct {
	w     http.ResponseWriter
	begun bool
}

func (f *flushed) Write(p []byte) (int, error) {
	f.begun = true
	n, err := f.w.Write(p)
	if err != nil {
		return n, err
	}
	return n, http.NewResponseController(f.w).Flush()
}

func (f *flushed) flush() {
	f.begun = true
	_ = http.NewResponseController(f.w).Flush()
}

// containerAttach joins the client's connection and the container's streams.
func (s *server) containerAttach(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	opt := engine.AttachOptions{
		Stdin: flag(r, "stdin"), Stdout: flag(r, "stdout"), Stderr: flag(r, "stderr"),
		Stream: flag(r, "stream"), Logs: flag(r, "logs"),
		DetachKeys: r.URL.Query().Get("detachKeys"),
	}
	if !opt.Stdin && !opt.Stdout && !opt.Stderr {
		return errNoStream
	}
	mediaType, err := s.mediaType(r, id)
	if err != nil {
		return err
	}
	// A client that has sent all of its input and closed its half looks to net/http
	// like one that is gone, and ends the request's context. Its output is still wanted.
	streams, err := s.engine.ContainerAttach(detached(r), id, opt)
	if err != nil {
		return err
	}
	return s.hijack(w, r, mediaType, streams)
}

// hijack takes the client's connection out of HTTP and joins it with streams,
// until one of both ends. It closes both.
func (s *server) hijack(w http.ResponseWriter, r *http.Request, mediaType types.MediaType, streams net.Conn) error {
	defer streams.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("take the connection out of HTTP: %w", err)
	}
	defer client.Close()
	if err := acceptStream(client, r, w.Header(), mediaType); err != nil {
		return nil // The client is gone.
	}
	// Outside of HTTP nobody else closes the connection when the daemon leaves.
	stop := context.AfterFunc(s.ctx, func() {
		client.Close()
		streams.Close()
	})
	defer stop()
	join(client, buffered.Reader, streams)
	return nil
}

// acceptStream writes the last HTTP that the connection sees. A client that
// asked for an upgrade gets 101; one of API 1.21's time expects 200 and then
// the stream. The reason "UPGRADED" is the one that clients have matched on.
func acceptStream(client net.Conn, r *http.Request, header http.Header, mediaType types.MediaType) error {
	header.Set("Content-Type", mediaType)
	status := "HTTP/1.1 200 OK\r\n"
	if r.Header.Get("Upgrade") != "" {
		status = "HTTP/1.1 101 UPGRADED\r\n"
		header.Set("Connection", "Upgrade")
		header.Set("Upgrade", "tcp")
	}
	out := bufio.NewWriter(client)
	_, _ = out.WriteString(status)
	_ = header.Write(out)
	_, _ = out.WriteString("\r\n")
	return out.Flush()
}

// join copies both ways until the container's streams end or the client is
// gone. A client that closes only its sending half has ended stdin, and still
// wants the output. fromClient holds what net/http has read ahead.
func join(client net.Conn, fromClient io.Reader, streams net.Conn) {
	stdin := make(chan struct{})
	go func() {
		defer close(stdin)
		_, _ = io.Copy(streams, fromClient)
		if half, ok := streams.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}()
	_, _ = io.Copy(client, streams)
	// Both ends are done for; closing them lets the other copy return.
	_ = client.Close()
	_ = streams.Close()
	<-stdin
}
