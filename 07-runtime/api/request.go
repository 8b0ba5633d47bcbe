//go:build linux

package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"drydock.example/07-runtime/engine"
)

// maxBody is the size in bytes of the largest JSON body that is read. A
// container's configuration is some kilobytes; 4 MiB leaves room for the
// longest environment that execve would take.
const maxBody = 4 << 20

// readJSON decodes r's body, one JSON document, into v. Unknown fields are
// passed over, because a client may be newer or older than this API.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	contentType := r.Header.Get("Content-Type")
	if mediaType, _, err := mime.ParseMediaType(contentType); err != nil || mediaType != "application/json" {
		return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf(
			"unsupported Content-Type header (%s): must be 'application/json'", contentType))
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	err := dec.Decode(v)
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = errors.New("unexpected content after JSON")
		}
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		err = fmt.Errorf("the request's body is larger than %d bytes", tooLarge.Limit)
	case errors.Is(err, io.EOF):
		err = errors.New("invalid JSON: got EOF while reading request body")
	default:
		err = fmt.Errorf("invalid JSON: %w", err)
	}
	return errdefs.ErrInvalidArgument.WithMessage(err.Error())
}

// flag reports whether the query's name is set to anything but 0, no, false
// and none, which is how Docker reads it.
func flag(r *http.Request, name string) bool {
	switch strings.ToLower(strings.TrimSpace(r.URL.Query().Get(name))) {
	case "", "0", "no", "false", "none":
		return false
	}
	return true
}

// integer returns the query's name as a number, and whether it is there.
func integer(r *http.Request, name string) (n int, ok bool, err error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return 0, false, nil
	}
	if n, err = strconv.Atoi(s); err != nil {
		return 0, false, invalidQuery(name, s, "want a whole number")
	}
	return n, true, nil
}

// timestamp returns the query's name, seconds since 1970 with up to nine
// decimals, as a time; the zero time when it is not there.
func timestamp(r *http.Request, name string) (time.Time, error) {
	s := r.URL.Query().Get(name)
	if s == "" || s == "0" {
		return time.Time{}, nil
	}
	seconds, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || len(fraction) > 9 {
		return time.Time{}, invalidQuery(name, s, "want seconds since 1970, as in 1700000000.5")
	}
	nsec, err := strconv.ParseUint("0"+fraction+strings.Repeat("0", 9-len(fraction)), 10, 32)
	if err != nil {
		return time.Time{}, invalidQuery(name, s, "want seconds since 1970, as in 1700000000.5")
	}
	return time.Unix(sec, int64(nsec)), nil
}

// filters returns the query's filters: {"status": {"exited": true}}, or in the
// older form {"status": ["exited"]}.
func filters(r *http.Request) (engine.Filters, error) {
	s := r.URL.Query().Get("filters")
	if s == "" {
		return nil, nil
	}
	var f engine.Filters
	if json.Unmarshal([]byte(s), &f) == nil {
		return f, nil
	}
	var lists map[string][]string
	if err := json.Unmarshal([]byte(s), &lists); err != nil {
		return nil, invalidQuery("filters", s, err.Error())
	}
	f = engine.Filters{}
	for name, values := range lists {
		f[name] = map[string]bool{}
		for _, value := range values {
			f[name][value] = true
		}
	}
	return f, nil
}

func invalidQuery(name, value, why string) error {
	return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("query parameter %s=%q: %s", name, value, why))
}
