//go:build linux

package api

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"

	"drydock.example/07-runtime/engine"
)

// fake answers what a test sets, and fails the test's request by a nil
// dereference for what it does not: the HTTP half alone is under test here.
type fake struct {
	Engine
	tty     bool
	inspect func(id string) error
	create  func(req container.CreateRequest) error
	start   func(ctx context.Context) error
	wait    func(condition container.WaitCondition) (<-chan container.WaitResponse, error)
	pull    func(ctx context.Context, ref string, progress func(engine.Progress)) error
	logs    func(opt engine.LogOptions, w io.Writer) error
	attach  func(opt engine.AttachOptions) (net.Conn, error)
	login   func(registry.AuthConfig) error
	auth    registry.AuthConfig // of the last pull
	execs   execs
}

func (f *fake) RegistryLogin(_ context.Context, auth registry.AuthConfig) error { return f.login(auth) }

func (f *fake) ContainerInspect(_ context.Context, id string) (container.InspectResponse, error) {
	var err error
	if f.inspect != nil {
		err = f.inspect(id)
	}
	return container.InspectResponse{ID: id, Config: &container.Config{Tty: f.tty}}, err
}

func (f *fake) ContainerCreate(_ context.Context, _ string, req container.CreateRequest) (container.CreateResponse, error) {
	return container.CreateResponse{ID: "abc"}, f.create(req)
}

func (f *fake) ContainerStart(ctx context.Context, _ string) error { return f.start(ctx) }

func (f *fake) ContainerWait(_ context.Context, _ string, condition container.WaitCondition) (<-chan container.WaitResponse, error) {
	return f.wait(condition)
}

func (f *fake) ImagePull(ctx context.Context, ref, _ string, auth registry.AuthConfig, progress func(engine.Progress)) error {
	f.auth = auth
	return f.pull(ctx, ref, progress)
}

func (f *fake) ContainerLogs(_ context.Context, _ string, opt engine.LogOptions, w io.Writer) error {
	return f.logs(opt, w)
}

func (f *fake) ContainerAttach(_ context.Context, _ string, opt engine.AttachOptions) (net.Conn, error) {
	return f.attach(opt)
}

// serve returns the address of a server of f's API, and moby's client of it.
func serve(t testing.TB, f *fake) (address string, api *client.Client) {
	t.Helper()
	server := httptest.NewServer(Handler(t.Context(), f, "test", slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	address = server.Listener.Addr().String()
	api, err := client.New(client.WithHost("tcp://"+address), client.WithAPIVersion(client.MaxAPIVersion))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { api.Close() })
	return address, api
}
