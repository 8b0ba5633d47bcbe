//go:build linux

package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/system"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Options say where an engine lives. Engines with different Root and State live beside
// each other on one host.
type Options struct {
	// Root holds what must survive a reboot: meta.db, content/, layers/, containers/ID/.
	Root string
	// State holds what dies with the machine: containers/ID/ (bundle, socket), runtime/.
	State string
	// Runtime is the OCI runtime's program: drydock-runtime, or any with runc's command line.
	Runtime string
	// Shim is the path of drydock-shim.
	Shim string
	// CgroupParent is the cgroup below which containers' cgroups are made: CgroupParent/ID. Default "/drydock".
	CgroupParent string
	// Version is what Version and Info report.
	Version string
	// Builtin images are installed once into a fresh store.
	Builtin []Builtin
}

// Builtin is an image that comes with the engine.
type Builtin struct {
	Name   string        // as in "hello" or "box:latest"
	Config ocispec.Image // RootFS is filled in from Layer
	Layer  func() (io.ReadCloser, error)
}

// Progress is one step of a pull, in Docker's words.
type Progress struct {
	ID             string
	Status         string
	Current, Total int64
}

// Filters are the list calls' filters as they come over the API: name → set of values.
type Filters map[string]map[string]bool

// ImageListOptions choose what [Engine.ImageList] returns.
type ImageListOptions struct {
	All     bool // also images without a name
	Filters Filters
}

// LogOptions choose what [Engine.ContainerLogs] writes.
type LogOptions struct {
	Stdout, Stderr bool
	Follow         bool      // go on until the container stops or the context ends
	Timestamps     bool      // RFC 3339 with nanoseconds and a blank before each line
	Since, Until   time.Time // zero: no bound
	Tail           int       // last lines only; negative: all
}

// AttachOptions choose the streams of [Engine.ContainerAttach].
type AttachOptions struct {
	Stdin, Stdout, Stderr bool
	Stream                bool   // go on with what comes; without it only Logs
	Logs                  bool   // first what the log has
	DetachKeys            string // as in "ctrl-p,ctrl-q"
}

// Engine is one running engine. All its methods may be called at the same time.
type Engine struct{}

var errLater = errors.New("engine: method is being written")

// Open opens the engine at opt.Root and opt.State.
func Open(ctx context.Context, opt Options) (*Engine, error) { return nil, errLater }

// Close ends the engine's own work; containers go on.
func (e *Engine) Close() error { return errLater }

// Busy reports whether a container runs or a call is being served by the engine's own goroutines, so that the daemon must stay.
func (e *Engine) Busy() bool { return false }

func (e *Engine) Version(ctx context.Context) (system.VersionResponse, error) {
	return system.VersionResponse{}, errLater
}

func (e *Engine) Info(ctx context.Context) (system.Info, error) { return system.Info{}, errLater }

func (e *Engine) ImageList(ctx context.Context, opt ImageListOptions) ([]image.Summary, error) {
	return nil, errLater
}

func (e *Engine) ImagePull(ctx context.Context, ref, platform string, progress func(Progress)) error {
	return errLater
}

func (e *Engine) ImageInspect(ctx context.Context, name string) (image.InspectResponse, error) {
	return image.InspectResponse{}, errLater
}

func (e *Engine) ImageRemove(ctx context.Context, name string, force bool) ([]image.DeleteResponse, error) {
	return nil, errLater
}

func (e *Engine) ContainerCreate(ctx context.Context, name string, req container.CreateRequest) (container.CreateResponse, error) {
	return container.CreateResponse{}, errLater
}

func (e *Engine) ContainerStart(ctx context.Context, id string) error { return errLater }

func (e *Engine) ContainerStop(ctx context.Context, id, signal string, timeout *int) error {
	return errLater
}

func (e *Engine) ContainerKill(ctx context.Context, id, signal string) error { return errLater }

func (e *Engine) ContainerRemove(ctx context.Context, id string, force, volumes bool) error {
	return errLater
}

func (e *Engine) ContainerResize(ctx context.Context, id string, height, width uint) error {
	return errLater
}

func (e *Engine) ContainerWait(ctx context.Context, id string, condition container.WaitCondition) (<-chan container.WaitResponse, error) {
	return nil, errLater
}

func (e *Engine) ContainerList(ctx context.Context, all bool, limit int, filters Filters) ([]container.Summary, error) {
	return nil, errLater
}

func (e *Engine) ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error) {
	return container.InspectResponse{}, errLater
}

func (e *Engine) ContainerLogs(ctx context.Context, id string, opt LogOptions, w io.Writer) error {
	return errLater
}

func (e *Engine) ContainerAttach(ctx context.Context, id string, opt AttachOptions) (net.Conn, error) {
	return nil, errLater
}
