//go:build linux

package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	images "drydock.example/06-images"
	"golang.org/x/sys/unix"
)

// Options say how a registry behaves. The zero value takes whatever comes.
type Options struct {
	MaxBlob int64 // bytes of the largest blob that is taken; 0: no limit
}

// Registry is a registry in a directory. It is an http.Handler.
type Registry struct {
	dir     string
	opt     Options
	content *images.Content
	lock    *os.File

	// refs is held for reading by whoever makes a reference and for writing by
	// whoever removes what has none: a blob is not collected between its
	// arrival and its first reference.
	refs sync.RWMutex

	mu      sync.Mutex
	uploads map[string]*upload // those that were used since the start, by ID
}

// Open opens the registry in dir, and makes it where there is none. One
// process at a time may have it open; the error for a second is that of
// flock(2). The caller closes it.
func Open(dir string, opt Options) (*Registry, error) {
	for _, sub := range []string{"repositories", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("registry %s is in use by another process: %w", dir, &os.PathError{Op: "flock", Path: lock.Name(), Err: err})
	}
	content, err := images.OpenContent(filepath.Join(dir, "blobs"))
	if err == nil {
		err = removeAllIn(filepath.Join(dir, "tmp"))
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &Registry{dir: dir, opt: opt, content: content, lock: lock, uploads: make(map[string]*upload)}, nil
}

// Close lets another process open the registry.
func (reg *Registry) Close() error { return reg.lock.Close() }

// request is one request, taken apart.
type request struct {
	*http.Request
	repository repository
	object     string // a digest, a tag, an upload's ID
}

// routes says who answers for which path and method. The first group of a
// pattern is the repository's name, which may have slashes; the second is the object.
var routes = []struct {
	path    *regexp.Regexp
	methods map[string]func(*Registry, http.ResponseWriter, request) error
}{
	{regexp.MustCompile(`^/v2/(.+)/blobs/uploads/?()$`), map[string]func(*Registry, http.ResponseWriter, request) error{
		http.MethodPost: (*Registry).startUpload,
	}},
	{regexp.MustCompile(`^/v2/(.+)/blobs/uploads/([^/]+)$`), map[string]func(*Registry, http.ResponseWriter, request) error{
		http.MethodGet:    (*Registry).uploadStatus,
		http.MethodPatch:  (*Registry).appendUpload,
		http.MethodPut:    (*Registry).finishUpload,
		http.MethodDelete: (*Registry).cancelUpload,
	}},
	{regexp.MustCompile(`^/v2/(.+)/blobs/([^/]+)$`), map[string]func(*Registry, http.ResponseWriter, request) error{
		http.MethodGet:    (*Registry).getBlob,
		http.MethodHead:   (*Registry).getBlob,
		http.MethodDelete: (*Registry).deleteBlob,
	}},
	{regexp.MustCompile(`^/v2/(.+)/manifests/([^/]+)$`), map[string]func(*Registry, http.ResponseWriter, request) error{
		http.MethodGet:    (*Registry).getManifest,
		http.MethodHead:   (*Registry).getManifest,
		http.MethodPut:    (*Registry).putManifest,
		http.MethodDelete: (*Registry).deleteManifest,
	}},
	{regexp.MustCompile(`^/v2/(.+)/tags/list()$`), map[string]func(*Registry, http.ResponseWriter, request) error{
		http.MethodGet: (*Registry).listTags,
	}},
	{regexp.MustCompile(`^/v2/(.+)/referrers/([^/]+)$`), map[string]func(*Registry, http.ResponseWriter, request) error{
		http.MethodGet: (*Registry).listReferrers,
	}},
}

// ServeHTTP answers one request (distribution specification, "Endpoints").
func (reg *Registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	if err := reg.serve(w, r); err != nil {
		writeError(w, r, err)
	}
}

func (reg *Registry) serve(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path == "/v2/" || r.URL.Path == "/v2" {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			return methodNotAllowed(w, http.MethodGet, http.MethodHead)
		}
		return writeJSON(w, "application/json", struct{}{})
	}
	for _, route := range routes {
		match := route.path.FindStringSubmatch(r.URL.Path)
		if match == nil {
			continue
		}
		if !validName(match[1]) {
			return &Error{http.StatusBadRequest, "NAME_INVALID", "invalid repository name", match[1]}
		}
		handle := route.methods[r.Method]
		if handle == nil {
			var allowed []string
			for method := range route.methods {
				allowed = append(allowed, method)
			}
			slices.Sort(allowed)
			return methodNotAllowed(w, allowed...)
		}
		return handle(reg, w, request{r, reg.repository(match[1]), match[2]})
	}
	return &Error{http.StatusNotFound, "UNSUPPORTED", "there is no such endpoint", r.URL.Path}
}

func methodNotAllowed(w http.ResponseWriter, allowed ...string) error {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return &Error{http.StatusMethodNotAllowed, "UNSUPPORTED", "the method is not allowed here, but " + strings.Join(allowed, ", "), nil}
}

// Error is a refusal in the words of the distribution specification, section
// "Error Codes".
type Error struct {
	Status  int // of HTTP
	Code    string
	Message string
	Detail  any
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Message) }

// writeError answers with err: as it says if it is an *Error, else as a fault
// of this server. Who went away gets no answer.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	refusal, ok := errors.AsType[*Error](err)
	switch {
	case ok:
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		refusal = &Error{http.StatusInsufficientStorage, "DENIED", "the registry has no room left", nil}
	case r.Context().Err() != nil && errors.Is(err, context.Cause(r.Context())):
		return
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, os.ErrDeadlineExceeded):
		refusal = &Error{http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "the request broke off", nil}
	default:
		// The text may name paths of this machine: it is for whoever runs it.
		chapter.Call(r.Context(), "the registry cannot: "+err.Error(), "sendto(%q, %q)", r.RemoteAddr, "HTTP/1.1 500")
		refusal = &Error{http.StatusInternalServerError, "UNKNOWN", "the registry has failed", nil}
	}
	body := map[string]any{"code": refusal.Code, "message": refusal.Message}
	if refusal.Detail != nil {
		body["detail"] = refusal.Detail
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(refusal.Status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []any{body}}) // a client that has left reads nothing
}

// writeJSON answers with 200 and v.
func writeJSON(w http.ResponseWriter, contentType string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
	_, err = w.Write(raw)
	return err
}
