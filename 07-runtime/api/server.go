//go:build linux

package api

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/system"

	"drydock.example/07-runtime/engine"
)

// Engine is what the handlers call. [engine.Engine] is the one that runs
// containers; a test of the HTTP half needs no kernel with one of its own.
type Engine interface {
	Version(ctx context.Context) (system.VersionResponse, error)
	Info(ctx context.Context) (system.Info, error)

	ImageList(ctx context.Context, opt engine.ImageListOptions) ([]image.Summary, error)
	RegistryLogin(ctx context.Context, auth registry.AuthConfig) error
	ImagePull(ctx context.Context, ref, platform string, auth registry.AuthConfig, progress func(engine.Progress)) error
	ImageInspect(ctx context.Context, name string) (image.InspectResponse, error)
	ImageRemove(ctx context.Context, name string, force bool) ([]image.DeleteResponse, error)

	ContainerCreate(ctx context.Context, name string, req container.CreateRequest) (container.CreateResponse, error)
	ContainerStart(ctx context.Context, id string) error
	ContainerStop(ctx context.Context, id, signal string, timeout *int) error
	ContainerKill(ctx context.Context, id, signal string) error
	ContainerRemove(ctx context.Context, id string, force, volumes bool) error
	ContainerResize(ctx context.Context, id string, height, width uint) error
	ContainerWait(ctx context.Context, id string, condition container.WaitCondition) (<-chan container.WaitResponse, error)
	ContainerList(ctx context.Context, all bool, limit int, filters engine.Filters) ([]container.Summary, error)
	ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error)
	ContainerLogs(ctx context.Context, id string, opt engine.LogOptions, w io.Writer) error
	ContainerAttach(ctx context.Context, id string, opt engine.AttachOptions) (net.Conn, error)

	ExecCreate(ctx context.Context, id string, opt container.ExecCreateRequest) (string, error)
	ExecStart(ctx context.Context, id string, opt container.ExecStartRequest) (net.Conn, error)
	ExecResize(ctx context.Context, id string, height, width uint) error
	ExecInspect(ctx context.Context, id string) (container.ExecInspectResponse, error)
}

// Handler serves the API of e. Connections that have left HTTP are closed at the
// end of ctx; the others are the http.Server's. version is Drydock's own, for the
// Server header; log hears of the failures that are the engine's fault, status 500.
func Handler(ctx context.Context, e Engine, version string, log *slog.Logger) http.Handler {
	s := &server{
		ctx:      ctx,
		engine:   e,
		log:      log,
		sessions: newSessions(),
		product:  "Drydock/" + version + " (" + runtime.GOOS + ")",
	}
	mux := http.NewServeMux()
	for pattern, serve := range s.routes() {
		mux.Handle(pattern, s.errors(serve))
	}
	mux.Handle("/", s.errors(unserved))
	return s.headers(s.versioned(mux))
}

// server holds what the handlers share.
type server struct {
	ctx      context.Context
	engine   Engine
	log      *slog.Logger
	sessions *sessions
	product  string
}

// handler is an http.Handler that leaves its error to the server.
type handler func(w http.ResponseWriter, r *http.Request) error

// routes is the whole surface, by net/http's patterns. An image's name has
// slashes, which only a last segment may match, so what follows the name is
// told apart in [server.imageGet].
func (s *server) routes() map[string]handler {
	return map[string]handler{
		"GET /_ping":                   s.ping, // net/http serves HEAD by it, too
		"GET /version":                 s.version,
		"GET /info":                    s.info,
		"POST /auth":                   s.auth,
		"GET /images/json":             s.imageList,
		"POST /images/create":          s.imageCreate,
		"GET /images/{name...}":        s.imageGet,
		"DELETE /images/{name...}":     s.imageRemove,
		"GET /containers/json":         s.containerList,
		"POST /containers/create":      s.containerCreate,
		"GET /containers/{id}/json":    s.containerInspect,
		"GET /containers/{id}/logs":    s.containerLogs,
		"POST /containers/{id}/start":  s.containerStart,
		"POST /containers/{id}/stop":   s.containerStop,
		"POST /containers/{id}/kill":   s.containerKill,
		"POST /containers/{id}/wait":   s.containerWait,
		"POST /containers/{id}/attach": s.containerAttach,
		"POST /containers/{id}/resize": s.containerResize,
		"DELETE /containers/{id}":      s.containerRemove,
		"POST /containers/{id}/exec":   s.execCreate,
		"POST /exec/{id}/start":        s.execStart,
		"POST /exec/{id}/resize":       s.execResize,
		"GET /exec/{id}/json":          s.execInspect,
		"GET /drydock/explain/{id}":    s.explain,
		"DELETE /drydock/explain/{id}": s.explainEnd,
	}
}

// headers adds what Docker's daemon says of itself in each answer.
func (s *server) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Api-Version", MaxVersion)
		h.Set("Ostype", runtime.GOOS)
		h.Set("Docker-Experimental", "false")
		h.Set("Server", s.product)
		next.ServeHTTP(w, r)
	})
}

// errors turns h into an http.Handler that narrates to the request's explain
// stream and answers the error that h returns.
func (s *server) errors(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(s.sessions.with(r.Context(), r.Header.Get(explainHeader)))
		err := h(w, r)
		if err == nil {
			return
		}
		status := statusOf(err)
		if status == http.StatusInternalServerError && r.Context().Err() == nil {
			s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		}
		writeError(w, status, err)
	})
}

// unserved answers a request that no route matches.
func unserved(_ http.ResponseWriter, r *http.Request) error {
	if dockerHas(r) {
		// "not supported" is what makes docker inspect go on to the next kind of object.
		return errdefs.ErrNotImplemented.WithMessage(
			r.Method + " " + r.URL.Path + " is part of the Docker API, but not supported by this version of Drydock")
	}
	return errdefs.ErrNotFound.WithMessage("page not found")
}
