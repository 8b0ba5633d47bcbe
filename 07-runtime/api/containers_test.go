//go:build linux

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

func TestCreateRejectsWhatIsNoRequest(t *testing.T) {
	address, _ := serve(t, &fake{create: func(container.CreateRequest) error { return nil }})
	for _, test := range []struct{ contentType, body, want string }{
		{"application/json", `{"Image":"hello"}`, `201 {"Id":"abc","Warnings":[]}`},
		{"application/json; charset=utf-8", `{"Image":"hello","FromTheFuture":[1]}`, `201 {"Id":"abc","Warnings":[]}`},
		{"", `{}`, `400 {"message":"unsupported Content-Type header (): must be 'application/json'"}`},
		{"text/plain", `{}`, `400 {"message":"unsupported Content-Type header (text/plain): must be 'application/json'"}`},
		{"application/json", ``, `400 {"message":"invalid JSON: got EOF while reading request body"}`},
		{"application/json", `null`, `400 {"message":"config cannot be empty in order to create a container"}`},
		{"application/json", `{`, `400 {"message":"invalid JSON: unexpected EOF"}`},
		{"application/json", `{} {}`, `400 {"message":"invalid JSON: unexpected content after JSON"}`},
		{"application/json", `{"Env":"A=1"}`, `400 {"message":"invalid JSON: json: cannot unmarshal string into Go struct field CreateRequest.Config.Env of type []string"}`},
		{"application/json", `{"HostConfig":{"Memory":"64m"}}`, `400 {"message":"invalid JSON: json: cannot unmarshal string into Go struct field HostConfig.HostConfig.Resources.Memory of type int64"}`},
		{"application/json", `{"Env":["` + strings.Repeat("x", maxBody) + `"]}`, `400 {"message":"the request's body is larger than 4194304 bytes"}`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+address+"/containers/create", strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		if test.contentType != "" {
			req.Header.Set("Content-Type", test.contentType)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%d %s", resp.StatusCode, bytes.TrimSpace(body)); got != test.want {
			t.Errorf("%.60s:\n%s\nwant:\n%s", test.body, got, test.want)
		}
	}
}

func TestQueryParameters(t *testing.T) {
	address, _ := serve(t, &fake{})
	for route, want := range map[string]string{
		"GET /containers/json?limit=many":           `query parameter limit=\"many\": want a whole number`,
		"GET /containers/json?filters={":            `query parameter filters=\"{\": unexpected end of JSON input`,
		"POST /containers/x/stop?t=soon":            `query parameter t=\"soon\": want a whole number`,
		"POST /containers/x/wait?condition=up":      `invalid condition: \"up\"`,
		"POST /containers/x/resize?h=1":             `query parameter w=\"\": want a terminal's size in characters, 0 to 65535`,
		"POST /containers/x/resize?h=-1&w=1":        `query parameter h=\"-1\": want a terminal's size in characters, 0 to 65535`,
		"POST /containers/x/attach":                 `Bad parameters: you must choose at least one stream`,
		"GET /containers/x/logs?stdout=0":           `Bad parameters: you must choose at least one stream`,
		"GET /containers/x/logs?stdout=1&since=now": `query parameter since=\"now\": want seconds since 1970, as in 1700000000.5`,
		"POST /images/create":                       `query parameter fromImage: want the name of the image to pull`,
	} {
		method, path, _ := strings.Cut(route, " ")
		status, _, body := request(t, method, "http://"+address+path)
		if want = `{"message":"` + want + `"}` + "\n"; status != 400 || body != want {
			t.Errorf("%s: %d %s, want 400 %s", route, status, body, want)
		}
	}
}

// A client must know that its wait is registered before it starts the container.
func TestWaitAnswersItsHeadersBeforeTheEnd(t *testing.T) {
	ended := make(chan container.WaitResponse)
	_, api := serve(t, &fake{wait: func(condition container.WaitCondition) (<-chan container.WaitResponse, error) {
		if condition != container.WaitConditionNextExit {
			t.Errorf("condition %q", condition)
		}
		return ended, nil
	}})
	// ContainerWait returns when it has the headers. Nothing has ended by then.
	wait := api.ContainerWait(t.Context(), "x", client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	ended <- container.WaitResponse{StatusCode: 42}
	select {
	case result := <-wait.Result:
		if result.StatusCode != 42 {
			t.Errorf("status %d, want 42", result.StatusCode)
		}
	case err := <-wait.Error:
		t.Error(err)
	}
}

// A start goes on when its client is gone: half a start is nothing that a next
// client could make sense of.
func TestStartOutlivesItsClient(t *testing.T) {
	started, left := make(chan struct{}), make(chan struct{})
	outlived := make(chan error)
	_, api := serve(t, &fake{start: func(ctx context.Context) error {
		close(started)
		<-left
		outlived <- ctx.Err()
		return nil
	}})
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-started
		leave()
	}()
	if _, err := api.ContainerStart(ctx, "x", client.ContainerStartOptions{}); err == nil {
		t.Error("the client got an answer before the start was done")
	}
	close(left)
	if err := <-outlived; err != nil {
		t.Errorf("the engine's context: %v", err)
	}
}

func FuzzContainerCreate(f *testing.F) {
	f.Add([]byte(`{"Image":"hello","HostConfig":{"Memory":67108864,"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"}]}}}`))
	f.Add([]byte(`{"HostConfig":{"Binds":null,"Ulimits":[null],"Mounts":[{}]},"NetworkingConfig":{"EndpointsConfig":{"a":null}}}`))
	f.Add([]byte(`{"ExposedPorts":{"x":{}}}`))
	f.Add([]byte(`[]`))
	var got container.CreateRequest
	handler := Handler(f.Context(), &fake{create: func(req container.CreateRequest) error { got = req; return nil }}, "fuzz", nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		status, answer := post(handler, "/v1.50/containers/create", body)
		switch {
		case status == http.StatusCreated:
			// What was understood can be said again.
			if _, err := json.Marshal(got); err != nil {
				t.Errorf("%q was accepted as what has no JSON: %v", body, err)
			}
		case status != http.StatusBadRequest:
			t.Errorf("%q: %d %s", body, status, answer)
		case !json.Valid(answer):
			t.Errorf("%q: the error is no JSON: %s", body, answer)
		}
	})
}
