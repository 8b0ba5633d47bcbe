//go:build linux

package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/explain"
	"drydock.example/07-runtime/engine"
)

func post(handler http.Handler, path string, body []byte) (status int, answer []byte) {
	req := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, req)
	return w.Code, w.Body.Bytes()
}

// socketPair returns two ends of one Unix connection, as the engine and the
// shim have it.
func socketPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conns := make([]*net.UnixConn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conns[i] = c.(*net.UnixConn)
	}
	return conns[0], conns[1]
}

// cat is a container that answers with what it has read, once its input ends.
func cat(t *testing.T) (attach func(engine.AttachOptions) (net.Conn, error)) {
	return func(engine.AttachOptions) (net.Conn, error) {
		ours, shim := socketPair(t)
		go func() {
			input, _ := io.ReadAll(shim)
			fmt.Fprintf(shim, "got %q", input)
			shim.Close()
		}()
		return ours, nil
	}
}

func TestAttachHasTheOutputAfterTheInputEnds(t *testing.T) {
	_, api := serve(t, &fake{tty: true, attach: cat(t)})
	attached, err := api.ContainerAttach(t.Context(), "x", client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	if mediaType, _ := attached.MediaType(); mediaType != "application/vnd.docker.raw-stream" {
		t.Errorf("media type %q", mediaType)
	}
	if _, err := io.WriteString(attached.Conn, "typed"); err != nil {
		t.Fatal(err)
	}
	if err := attached.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	output, err := io.ReadAll(attached.Reader)
	if string(output) != `got "typed"` || err != nil {
		t.Errorf("output %q, %v", output, err)
	}
}

// The first lines of the answer, for clients that ask for an upgrade and for
// those that do not, and the input that is sent without waiting for them.
func TestAttachHandshake(t *testing.T) {
	for _, test := range []struct{ request, status, mediaType string }{
		{"POST /v1.50/containers/x/attach?stdin=1&stdout=1&stream=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
			"101 UPGRADED", "application/vnd.docker.multiplexed-stream"},
		{"POST /v1.41/containers/x/attach?stdin=1&stdout=1&stream=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
			"101 UPGRADED", "application/vnd.docker.raw-stream"},
		{"POST /containers/x/attach?stdin=1&stdout=1&stream=1 HTTP/1.1\r\nHost: x\r\n\r\n",
			"200 OK", "application/vnd.docker.multiplexed-stream"},
	} {
		address, _ := serve(t, &fake{attach: cat(t)})
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, test.request+"early"); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		reader := bufio.NewReader(conn)
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Status != test.status || resp.Header.Get("Content-Type") != test.mediaType {
			t.Errorf("%.60q: %s, %s", test.request, resp.Status, resp.Header.Get("Content-Type"))
		}
		if upgrade := resp.Header.Get("Upgrade"); (upgrade == "tcp") != strings.HasPrefix(test.status, "101") {
			t.Errorf("%.60q: Upgrade: %q", test.request, upgrade)
		}
		if output, err := io.ReadAll(reader); string(output) != `got "early"` || err != nil {
			t.Errorf("%.60q: output %q, %v", test.request, output, err)
		}
	}
}

// A container that runs on must not hold the streams of a client that is gone,
// once it says something.
func TestAttachEndsWithItsClient(t *testing.T) {
	ours, shim := socketPair(t)
	_, api := serve(t, &fake{attach: func(engine.AttachOptions) (net.Conn, error) { return ours, nil }})
	attached, err := api.ContainerAttach(t.Context(), "x", client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	attached.Close()
	// The half that is closed first is the container's input.
	if n, err := shim.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes of input, %v; want its end", n, err)
	}
	for err == nil {
		_, err = shim.Write([]byte("output"))
	}
	if !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("writing output: %v, want a broken pipe", err)
	}
}

func TestLogsComeLineByLine(t *testing.T) {
	next := make(chan struct{})
	_, api := serve(t, &fake{tty: true, logs: func(opt engine.LogOptions, w io.Writer) error {
		if !opt.Follow || opt.Tail != 3 || opt.Since.UnixMilli() != 1500 {
			t.Errorf("options %+v", opt)
		}
		for i := range 3 {
			if _, err := fmt.Fprintln(w, "line", i); err != nil {
				return err
			}
			<-next
		}
		return nil
	}})
	logs, err := api.ContainerLogs(t.Context(), "x", client.ContainerLogsOptions{ShowStdout: true, Follow: true, Tail: "3", Since: "1.5"})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	lines := bufio.NewScanner(logs)
	for i := range 3 {
		if !lines.Scan() || lines.Text() != fmt.Sprint("line ", i) {
			t.Fatalf("line %d: %q, %v", i, lines.Text(), lines.Err())
		}
		// The container writes the next one only when this one was seen.
		next <- struct{}{}
	}
}

func TestPullProgress(t *testing.T) {
	var failure error
	address, api := serve(t, &fake{pull: func(_ context.Context, ref string, progress func(engine.Progress)) error {
		if ref != "127.0.0.1:5000/debian:12" {
			t.Errorf("reference %q", ref)
		}
		progress(engine.Progress{ID: "12", Status: "Pulling from debian"})
		progress(engine.Progress{ID: "0123456789ab", Status: "Downloading", Current: 1, Total: 2})
		return failure
	}})
	const steps = `{"status":"Pulling from debian","id":"12"}` + "\r\n" +
		`{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"0123456789ab"}` + "\r\n"
	const path = "/images/create?fromImage=127.0.0.1:5000/debian&tag=12"
	if status, _, body := request(t, "POST", "http://"+address+path); status != 200 || body != steps {
		t.Errorf("%d %s", status, body)
	}
	// The status is sent, so that only the stream can tell.
	failure = fmt.Errorf("the registry cut the connection: %w", errdefs.ErrUnavailable)
	const last = `{"errorDetail":{"code":503,"message":"the registry cut the connection: unavailable"},"error":"the registry cut the connection: unavailable"}` + "\r\n"
	if status, _, body := request(t, "POST", "http://"+address+path); status != 200 || body != steps+last {
		t.Errorf("%d %s", status, body)
	}
	stream, err := api.ImagePull(t.Context(), "127.0.0.1:5000/debian:12", client.ImagePullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Wait(t.Context()); !errdefs.IsUnavailable(err) {
		t.Errorf("the client's error: %v", err)
	}
}

// Who the client is goes along with a pull, by its header; one that cannot be
// read is nobody.
func TestWhoPulls(t *testing.T) {
	f := &fake{pull: func(context.Context, string, func(engine.Progress)) error { return nil }}
	f.login = func(auth registry.AuthConfig) error {
		if auth.Password != "secret" {
			return fmt.Errorf("login at %s: %w", auth.ServerAddress, errdefs.ErrUnauthenticated)
		}
		return nil
	}
	address, api := serve(t, f)
	ann := registry.AuthConfig{Username: "ann", Password: "secret", ServerAddress: "127.0.0.1:5000"}
	header, err := authconfig.Encode(ann)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := api.ImagePull(t.Context(), "x", client.ImagePullOptions{RegistryAuth: header})
	if err != nil {
		t.Fatal(err)
	}
	stream.Close()
	if f.auth != ann {
		t.Errorf("the pull came as %+v, want %+v", f.auth, ann)
	}
	req, err := http.NewRequest("POST", "http://"+address+"/images/create?fromImage=x", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(registry.AuthHeader, "nonsense")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || f.auth != (registry.AuthConfig{}) {
		t.Errorf("%s, and the pull came as %+v", resp.Status, f.auth)
	}
	if got, err := api.RegistryLogin(t.Context(), client.RegistryLoginOptions{Username: "ann", Password: "secret"}); err != nil || got.Auth.Status != "Login Succeeded" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := api.RegistryLogin(t.Context(), client.RegistryLoginOptions{Username: "ann", Password: "wrong"}); !errdefs.IsUnauthorized(err) {
		t.Errorf("with a wrong password: %v", err)
	}
}

func TestPullErrorBeforeTheFirstStep(t *testing.T) {
	address, _ := serve(t, &fake{pull: func(_ context.Context, ref string, _ func(engine.Progress)) error {
		return fmt.Errorf("manifest for %s not found: %w", ref, errdefs.ErrNotFound)
	}})
	status, _, body := request(t, "POST", "http://"+address+"/images/create?fromImage=x&tag=sha256:0123")
	if want := `{"message":"manifest for x@sha256:0123 not found: not found"}` + "\n"; status != 404 || body != want {
		t.Errorf("%d %s, want 404 %s", status, body, want)
	}
}

func TestPullThatWantsAPasswordIsNo401(t *testing.T) {
	address, _ := serve(t, &fake{pull: func(context.Context, string, func(engine.Progress)) error {
		return fmt.Errorf("pull access denied: %w", errdefs.ErrUnauthenticated)
	}})
	if status, _, body := request(t, "POST", "http://"+address+"/images/create?fromImage=x"); status != 404 || !strings.Contains(body, "pull access denied") {
		t.Errorf("%d %s, want 404", status, body)
	}
}

func TestPullEndsWithItsClient(t *testing.T) {
	cancelled := make(chan struct{})
	_, api := serve(t, &fake{pull: func(ctx context.Context, _ string, progress func(engine.Progress)) error {
		progress(engine.Progress{Status: "begun"})
		<-ctx.Done()
		close(cancelled)
		return ctx.Err()
	}})
	stream, err := api.ImagePull(t.Context(), "x", client.ImagePullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var first jsonstream.Message
	if err := json.NewDecoder(stream).Decode(&first); err != nil || first.Status != "begun" {
		t.Fatalf("first message %+v, %v", first, err)
	}
	stream.Close()
	<-cancelled
}

// A record of a request that names the stream is on the stream before the
// request is answered; another request's is not.
func TestExplainStream(t *testing.T) {
	address, _ := serve(t, &fake{start: func(ctx context.Context) error {
		explain.Chapter(2).Call(ctx, "its own name", "sethostname(%q)", "box")
		return nil
	}})
	resp, err := http.Get("http://" + address + "/drydock/explain/abc")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	start := func(id string) {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+address+"/containers/x/start", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Drydock-Explain", id)
		started, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		started.Body.Close()
	}
	start("another")
	start("")
	start("abc")
	if status, _, body := request(t, "DELETE", "http://"+address+"/drydock/explain/abc"); status != 204 {
		t.Errorf("DELETE: %d %s", status, body)
	}
	// The stream ends now, after all of it has been sent.
	var text bytes.Buffer
	explain.Forward(t.Context(), resp.Body, explain.Text(&text))
	if got, want := text.String(), "  1  ch2  sethostname(\"box\")  # its own name\n"; got != want {
		t.Errorf("the stream tells\n%swant\n%s", got, want)
	}
	if status, _, _ := request(t, "DELETE", "http://"+address+"/drydock/explain/abc"); status != 404 {
		t.Errorf("a second DELETE: %d, want 404", status)
	}
}
