//go:build linux

package engine

import (
	"fmt"

	"github.com/containerd/errdefs"
)

// failure is an error in Docker's words with a kind of errdefs, which does not show in the text.
type failure struct {
	kind error
	err  error
}

func (f failure) Error() string   { return f.err.Error() }
func (f failure) Unwrap() []error { return []error{f.kind, f.err} }

func notFound(format string, args ...any) error {
	return failure{errdefs.ErrNotFound, fmt.Errorf(format, args...)}
}

func invalid(format string, args ...any) error {
	return failure{errdefs.ErrInvalidArgument, fmt.Errorf(format, args...)}
}

func conflict(format string, args ...any) error {
	return failure{errdefs.ErrConflict, fmt.Errorf(format, args...)}
}

func notModified(format string, args ...any) error {
	return failure{errdefs.ErrNotModified, fmt.Errorf(format, args...)}
}
