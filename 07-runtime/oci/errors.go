//go:build linux

package oci

import (
	"github.com/containerd/errdefs"
)

// The errors that callers tell apart. Their words are runc's, because programs
// that drive a runtime look for them.
var (
	ErrExists      = failure{"container with given ID already exists", errdefs.ErrAlreadyExists}
	ErrNotExist    = failure{"container does not exist", errdefs.ErrNotFound}
	ErrNotRunning  = failure{"container not running", errdefs.ErrFailedPrecondition}
	ErrNotPaused   = failure{"container not paused", errdefs.ErrFailedPrecondition}
	ErrRunning     = failure{"cannot start an already running container", errdefs.ErrFailedPrecondition}
	ErrNoProcess   = failure{"cannot start a container without a process: its config has none", errdefs.ErrFailedPrecondition}
	ErrStopped     = failure{"cannot start a container that has stopped", errdefs.ErrFailedPrecondition}
	ErrExecStopped = failure{"cannot exec in a stopped container", errdefs.ErrFailedPrecondition}
	ErrExecPaused  = failure{"cannot exec in a paused container (use --ignore-paused to override)", errdefs.ErrFailedPrecondition}
	ErrInvalidID   = failure{"invalid container ID format", errdefs.ErrInvalidArgument}
)

// failure has words of its own and one of errdefs' kinds.
type failure struct {
	text string
	kind error
}

func (f failure) Error() string { return f.text }
func (f failure) Unwrap() error { return f.kind }
