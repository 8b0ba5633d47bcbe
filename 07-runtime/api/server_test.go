//go:build linux

package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func request(t *testing.T, method, url string) (status int, header http.Header, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func TestPingTellsWhoAnswers(t *testing.T) {
	address, _ := serve(t, &fake{})
	for _, method := range []string{"GET", "HEAD"} {
		status, header, body := request(t, method, "http://"+address+"/_ping")
		if status != 200 || method == "GET" && body != "OK" || method == "HEAD" && body != "" {
			t.Errorf("%s /_ping: %d %q", method, status, body)
		}
		for name, want := range map[string]string{
			"Api-Version": "1.56", "Ostype": "linux", "Docker-Experimental": "false",
			"Server": "Drydock/test (linux)", "Swarm": "inactive",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s /_ping: header %s is %q, want %q", method, name, got, want)
			}
		}
	}
}

func TestVersionInThePath(t *testing.T) {
	address, _ := serve(t, &fake{})
	for path, want := range map[string]string{
		"/v1.24/_ping":                 "200 OK",
		"/v1.56/_ping":                 "200 OK",
		"/v1.23/_ping":                 `400 {"message":"client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"}`,
		"/v1.57/_ping":                 `400 {"message":"client version 1.57 is too new. Maximum supported API version is 1.56"}`,
		"/v2.0/_ping":                  `400 {"message":"client version 2.0 is too new. Maximum supported API version is 1.56"}`,
		"/v1/_ping":                    `400 {"message":"API version \"1\" in the path: want MAJOR.MINOR, as in v1.56"}`,
		"/v1.2.3/_ping":                `400 {"message":"API version \"1.2.3\" in the path: want MAJOR.MINOR, as in v1.56"}`,
		"/v99999999999999999999/_ping": `400 {"message":"API version \"99999999999999999999\" in the path: want MAJOR.MINOR, as in v1.56"}`,
		"/vx/_ping":                    `404 {"message":"page not found"}`,
	} {
		status, _, body := request(t, "GET", "http://"+address+path)
		if got := fmt.Sprintf("%d %s", status, strings.TrimSpace(body)); got != want {
			t.Errorf("GET %s:\n%s\nwant:\n%s", path, got, want)
		}
	}
}

func TestUnservedRoutes(t *testing.T) {
	address, _ := serve(t, &fake{})
	for route, want := range map[string]string{
		"GET /":                    `404 {"message":"page not found"}`,
		"GET /nothing":             `404 {"message":"page not found"}`,
		"PUT /containers/x/json":   `404 {"message":"page not found"}`,
		"GET /v1.50/containers/x":  `404 {"message":"page not found"}`,
		"POST /containers/x/pause": `501 {"message":"POST /containers/x/pause is part of the Docker API, but not supported by this version of Drydock"}`,
		"GET /v1.50/volumes":       `501 {"message":"GET /volumes is part of the Docker API, but not supported by this version of Drydock"}`,
		"GET /images/a/b/history":  `501 {"message":"GET /images/a/b/history is part of the Docker API, but not supported by this version of Drydock"}`,
		"POST /swarm/init":         `501 {"message":"POST /swarm/init is part of the Docker API, but not supported by this version of Drydock"}`,
	} {
		method, path, _ := strings.Cut(route, " ")
		status, header, body := request(t, method, "http://"+address+path)
		if got := fmt.Sprintf("%d %s", status, strings.TrimSpace(body)); got != want {
			t.Errorf("%s:\n%s\nwant:\n%s", route, got, want)
		}
		if got := header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: Content-Type %q", route, got)
		}
	}
}

// The status follows from the error's kind, wherever in the chain it is.
func TestErrorKinds(t *testing.T) {
	for _, test := range []struct {
		kind   error
		status int
	}{
		{errdefs.ErrNotFound, 404},
		{errdefs.ErrInvalidArgument, 400},
		{errdefs.ErrOutOfRange, 400},
		{errdefs.ErrAlreadyExists, 409},
		{errdefs.ErrConflict, 409},
		{errdefs.ErrFailedPrecondition, 409},
		{errdefs.ErrNotModified, 304},
		{errdefs.ErrUnauthenticated, 401},
		{errdefs.ErrPermissionDenied, 403},
		{errdefs.ErrNotImplemented, 501},
		{errdefs.ErrUnavailable, 503},
		{errdefs.ErrInternal, 500},
		{errors.New("something else"), 500},
	} {
		address, _ := serve(t, &fake{inspect: func(string) error { return fmt.Errorf("the reason: %w", test.kind) }})
		status, _, body := request(t, "GET", "http://"+address+"/containers/x/json")
		want := `{"message":"the reason: ` + test.kind.Error() + `"}` + "\n"
		if test.status == 304 {
			want = ""
		}
		if status != test.status || body != want {
			t.Errorf("%v: %d %q, want %d %q", test.kind, status, body, test.status, want)
		}
	}
}
