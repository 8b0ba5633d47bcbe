package images

import "fmt"

// kindError is an error that reads as its cause alone and also matches one of
// the kinds of containerd/errdefs, from which an HTTP status follows.
type kindError struct {
	kind, cause error
}

func (e *kindError) Error() string   { return e.cause.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.cause} }

// errorf formats an error of a kind; %w keeps the cause within reach.
func errorf(kind error, format string, args ...any) error {
	return &kindError{kind, fmt.Errorf(format, args...)}
}
