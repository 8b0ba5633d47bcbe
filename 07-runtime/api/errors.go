//go:build linux

package api

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errhttp"
	"github.com/moby/moby/api/types/common"
)

// statusOf returns the HTTP status that tells err's kind. Docker knows no 412
// and no 429: what the state of an object forbids is a conflict.
func statusOf(err error) int {
	switch {
	case errdefs.IsAlreadyExists(err), errdefs.IsFailedPrecondition(err):
		return http.StatusConflict
	case errdefs.IsOutOfRange(err):
		return http.StatusBadRequest
	case errdefs.IsResourceExhausted(err):
		return http.StatusInternalServerError
	}
	return errhttp.ToHTTP(err)
}

// writeError answers {"message": err}. A 304 has no body (RFC 9110, 15.4.5).
func writeError(w http.ResponseWriter, status int, err error) {
	if status == http.StatusNotModified {
		w.WriteHeader(status)
		return
	}
	_ = writeJSON(w, status, common.ErrorResponse{Message: err.Error()})
}

// writeJSON answers v. The error is the connection's, of which nobody is left
// to be told.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
	return nil
}
