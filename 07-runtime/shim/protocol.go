package shim

import (
	"fmt"
	"time"

	"github.com/containerd/errdefs"
)

// A Request is one line of JSON from a client.
type Request struct {
	Op     string         `json:"op"`
	Signal int            `json:"signal,omitempty"`
	Height uint16         `json:"height,omitempty"` // of the terminal, in characters
	Width  uint16         `json:"width,omitempty"`
	Attach *AttachOptions `json:"attach,omitempty"`
	// Exec names the further process that an exec, a wait or a resize is about;
	// empty: the container's first one.
	Exec     string `json:"exec,omitempty"`
	Terminal bool   `json:"terminal,omitempty"` // of an exec
}

// The operations of a Request.
const (
	OpCreated    = "created"    // answered when the runtime's create is done: Status or Error
	OpStart      = "start"      // has the runtime start the container
	OpWait       = "wait"       // answered when nothing of the container is left: Exit
	OpStatus     = "status"     // answered at once
	OpSignal     = "signal"     // to the first process
	OpResize     = "resize"     // of the terminal
	OpAttach     = "attach"     // after the answer the connection is the stream
	OpCloseStdin = "closestdin" // the end of the container's standard input
	// OpExec runs the process of DIR/exec-ID.json: Status; then the connection is
	// its stream, if Attach is set. A descriptor that comes along gets the narration.
	OpExec = "exec"
)

// A Response is one line of JSON from the shim.
type Response struct {
	Error  string  `json:"error,omitempty"`
	Kind   string  `json:"kind,omitempty"` // of the error
	Status *Status `json:"status,omitempty"`
	Exit   *Exit   `json:"exit,omitempty"`
}

// Status is what the shim knows of a living container.
type Status struct {
	Pid       int       `json:"pid"` // of the first process
	Started   bool      `json:"started"`
	StartedAt time.Time `json:"startedAt,omitzero"`
}

// AttachOptions choose what an attached connection carries.
type AttachOptions struct {
	Stdin  bool `json:"stdin,omitempty"`
	Stdout bool `json:"stdout,omitempty"`
	Stderr bool `json:"stderr,omitempty"`
	// CloseStdin: the end of what this client sends (CloseWrite, or its
	// disappearance) is the end of the container's standard input, as Docker's
	// StdinOnce wants it. Without effect on a terminal.
	CloseStdin bool `json:"closeStdin,omitempty"`
}

// kinds are the error kinds that cross the socket.
var kinds = map[string]error{
	"not found":           errdefs.ErrNotFound,
	"invalid argument":    errdefs.ErrInvalidArgument,
	"failed precondition": errdefs.ErrFailedPrecondition,
	"unknown":             errdefs.ErrUnknown,
}

// Fail makes the response that reports err.
func Fail(err error) Response {
	r := Response{Error: err.Error()}
	for name, kind := range kinds {
		if errdefs.Resolve(err) == kind {
			r.Kind = name
		}
	}
	return r
}

// Err is the error that a response reports, or nil.
func (r Response) Err() error {
	if r.Error == "" {
		return nil
	}
	kind := kinds[r.Kind]
	if kind == nil {
		kind = errdefs.ErrUnknown
	}
	return &remoteError{r.Error, kind}
}

// remoteError has the shim's words and one of errdefs' kinds.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

// errGone is the answer of a client whose shim is not there.
func errGone(dir string, cause error) error {
	return fmt.Errorf("the shim of %s has gone (%w): %w", dir, cause, errdefs.ErrUnavailable)
}
