//go:build linux

package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
)

// The range of API versions that is served. A client names the one it speaks in
// the path, as in /v1.50/info; a path without one means the newest.
const (
	MinVersion = "1.24"
	MaxVersion = "1.56"
)

// versioned takes the version off the path, after having checked it.
func (s *server) versioned(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		version, path := cutVersion(r.URL.Path)
		if version == "" {
			next.ServeHTTP(w, r)
			return
		}
		minor, err := checkVersion(version)
		if err != nil {
			writeError(w, statusOf(err), err)
			return
		}
		bare := *r.URL
		bare.Path = path
		_, bare.RawPath = cutVersion(bare.RawPath)
		r2 := r.WithContext(context.WithValue(r.Context(), minorKey{}, minor))
		r2.URL = &bare
		next.ServeHTTP(w, r2)
	})
}

// cutVersion splits "/v1.50/info" into "1.50" and "/info". Without a version it
// returns "" and the path as it is.
func cutVersion(path string) (version, rest string) {
	after, ok := strings.CutPrefix(path, "/v")
	if !ok {
		return "", path
	}
	version, rest, ok = strings.Cut(after, "/")
	if !ok || version == "" || strings.Trim(version, "0123456789.") != "" {
		return "", path
	}
	return version, "/" + rest
}

// minorKey is the context key of the version that the client named.
type minorKey struct{}

// apiMinor returns the minor number of the version that the client named, and
// whether it named one.
func apiMinor(ctx context.Context) (minor int, ok bool) {
	minor, ok = ctx.Value(minorKey{}).(int)
	return minor, ok
}

// checkVersion returns version's minor number, or says in Docker's words why it
// is not served.
func checkVersion(version string) (minor int, err error) {
	minor, err = minorOf(version)
	if err != nil {
		return 0, err
	}
	lowest, _ := minorOf(MinVersion)
	highest, _ := minorOf(MaxVersion)
	switch {
	case minor < lowest:
		return 0, errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf(
			"client version %s is too old. Minimum supported API version is %s, please upgrade your client to a newer version", version, MinVersion))
	case minor > highest:
		return 0, errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf(
			"client version %s is too new. Maximum supported API version is %s", version, MaxVersion))
	}
	return minor, nil
}

// minorOf returns 50 for "1.50". Another major version is beyond every minor one.
func minorOf(version string) (int, error) {
	major, minor, _ := strings.Cut(version, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	if errA != nil || errB != nil {
		return 0, errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf(
			"API version %q in the path: want MAJOR.MINOR, as in v%s", version, MaxVersion))
	}
	return (a-1)*1000 + b, nil
}
