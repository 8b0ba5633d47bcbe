//go:build linux

package api

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"drydock.example/07-runtime/engine"
)

// execs has one exec, "x".
type execs struct {
	tty     bool
	created container.ExecCreateRequest
	started container.ExecStartRequest
	size    [2]uint
	conn    func() (net.Conn, error)
}

func (f *fake) ExecCreate(_ context.Context, _ string, opt container.ExecCreateRequest) (string, error) {
	f.execs.created = opt
	return "x", nil
}

func (f *fake) ExecStart(_ context.Context, _ string, opt container.ExecStartRequest) (net.Conn, error) {
	f.execs.started = opt
	return f.execs.conn()
}

func (f *fake) ExecResize(_ context.Context, _ string, height, width uint) error {
	f.execs.size = [2]uint{height, width}
	return nil
}

func (f *fake) ExecInspect(_ context.Context, id string) (container.ExecInspectResponse, error) {
	if id != "x" {
		return container.ExecInspectResponse{}, errdefs.ErrNotFound.WithMessage("No such exec instance: " + id)
	}
	return container.ExecInspectResponse{
		ID: id, ContainerID: "c", ExitCode: new(int), ProcessConfig: &container.ExecProcessConfig{Tty: f.execs.tty},
	}, nil
}

// Docker's own client makes an exec, joins its streams, and asks how it ended.
func TestExecByDockersClient(t *testing.T) {
	for tty, mediaType := range map[bool]string{true: "application/vnd.docker.raw-stream", false: "application/vnd.docker.multiplexed-stream"} {
		f := &fake{execs: execs{tty: tty, conn: func() (net.Conn, error) { return cat(t)(engine.AttachOptions{}) }}}
		_, api := serve(t, f)
		made, err := api.ExecCreate(t.Context(), "c", client.ExecCreateOptions{Cmd: []string{"cat"}, TTY: tty, AttachStdin: true, User: "sailor"})
		if err != nil || made.ID != "x" {
			t.Fatalf("%+v, %v", made, err)
		}
		if f.execs.created.User != "sailor" || f.execs.created.Tty != tty || !f.execs.created.AttachStdin {
			t.Errorf("the engine was asked for %+v", f.execs.created)
		}
		attached, err := api.ExecAttach(t.Context(), made.ID, client.ExecAttachOptions{TTY: tty})
		if err != nil {
			t.Fatal(err)
		}
		defer attached.Close()
		if got, _ := attached.MediaType(); got != mediaType {
			t.Errorf("media type %q, want %q", got, mediaType)
		}
		io.WriteString(attached.Conn, "typed")
		attached.CloseWrite()
		if output, err := io.ReadAll(attached.Reader); string(output) != `got "typed"` || err != nil {
			t.Errorf("output %q, %v", output, err)
		}
		if _, err := api.ExecResize(t.Context(), made.ID, client.ExecResizeOptions{Height: 20, Width: 60}); err != nil || f.execs.size != [2]uint{20, 60} {
			t.Errorf("resize: %v, %v", f.execs.size, err)
		}
		if got, err := api.ExecInspect(t.Context(), made.ID, client.ExecInspectOptions{}); err != nil || got.ContainerID != "c" {
			t.Errorf("%+v, %v", got, err)
		}
		f.execs.conn = func() (net.Conn, error) { return nil, nil }
		if _, err := api.ExecStart(t.Context(), made.ID, client.ExecStartOptions{Detach: true}); err != nil || !f.execs.started.Detach {
			t.Errorf("detached: %+v, %v", f.execs.started, err)
		}
	}
}

func TestExecRejects(t *testing.T) {
	f := &fake{execs: execs{conn: func() (net.Conn, error) {
		return nil, errdefs.ErrConflict.WithMessage("Error: Exec command x has already run")
	}}}
	address, _ := serve(t, f)
	for _, test := range []struct {
		path, body, answer string
		status             int
	}{
		{"/containers/c/exec", "{", "invalid JSON: unexpected EOF", 400},
		{"/containers/c/exec", `{"Cmd":"ls"}`, "invalid JSON: json: cannot unmarshal string into Go struct field ExecCreateRequest.Cmd of type []string", 400},
		{"/exec/x/start", `{"ConsoleSize":[1,-1]}`, "invalid JSON: json: cannot unmarshal number -1 into Go struct field ExecStartRequest.ConsoleSize of type uint", 400},
		{"/exec/y/start", "{}", "No such exec instance: y", 404},
		{"/exec/x/start", "{}", "Error: Exec command x has already run", 409},
		{"/exec/x/resize?h=1", "{}", `query parameter w=\"\": want a terminal's size in characters, 0 to 65535`, 400},
	} {
		resp, err := http.Post("http://"+address+test.path, "application/json", strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := `{"message":"` + test.answer + "\"}\n"; err != nil || resp.StatusCode != test.status || string(body) != want {
			t.Errorf("%s %s: %d %s, %v; want %d %s", test.path, test.body, resp.StatusCode, body, err, test.status, want)
		}
	}
}
