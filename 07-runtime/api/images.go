//go:build linux

package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"

	"drydock.example/07-runtime/engine"
)

func (s *server) imageList(w http.ResponseWriter, r *http.Request) error {
	f, err := filters(r)
	if err != nil {
		return err
	}
	list, err := s.engine.ImageList(r.Context(), engine.ImageListOptions{All: flag(r, "all"), Filters: f})
	if err != nil {
		return err
	}
	return writeList(w, list)
}

// imageGet serves what follows an image's name: GET /images/{name}/json.
func (s *server) imageGet(w http.ResponseWriter, r *http.Request) error {
	name, ok := strings.CutSuffix(r.PathValue("name"), "/json")
	if !ok {
		return unserved(w, r)
	}
	img, err := s.engine.ImageInspect(r.Context(), name)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, img)
}

func (s *server) imageRemove(w http.ResponseWriter, r *http.Request) error {
	removed, err := s.engine.ImageRemove(r.Context(), r.PathValue("name"), flag(r, "force"))
	if err != nil {
		return err
	}
	return writeList(w, removed)
}

// auth serves what `docker login` asks: whether a registry takes a password.
func (s *server) auth(w http.ResponseWriter, r *http.Request) error {
	var auth registry.AuthConfig
	if err := readJSON(w, r, &auth); err != nil {
		return err
	}
	if err := s.engine.RegistryLogin(r.Context(), auth); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, registry.AuthResponse{Status: "Login Succeeded"})
}

// imageCreate pulls an image. Its answer is a stream of messages, which begins
// with the first step of the pull; an error before that is a status of its own,
// a later one is the stream's last message. The pull ends when the client leaves.
func (s *server) imageCreate(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	if query.Has("fromSrc") {
		return errdefs.ErrNotImplemented.WithMessage("importing an image from a root file system (fromSrc) is not served yet")
	}
	name := query.Get("fromImage")
	if name == "" {
		return errdefs.ErrInvalidArgument.WithMessage("query parameter fromImage: want the name of the image to pull")
	}
	ref := reference(name, query.Get("tag"))
	// Who sends nonsense is nobody, as with Docker: most images are for everybody.
	auth, _ := authconfig.Decode(r.Header.Get(registry.AuthHeader))
	stream := &messages{w: w}
	err := s.engine.ImagePull(r.Context(), ref, query.Get("platform"), *auth, func(p engine.Progress) {
		stream.send(message{Message: jsonstream.Message{ID: p.ID, Status: p.Status, Progress: progress(p)}})
	})
	if errdefs.IsUnauthorized(err) {
		// A 401 has docker ask for a password, and wait for it for ever where
		// its standard input is closed. Docker's daemon says 404.
		err = errdefs.ErrNotFound.WithMessage(err.Error())
	}
	if err == nil || !stream.begun {
		return err
	}
	stream.send(message{
		Message:      jsonstream.Message{Error: &jsonstream.Error{Code: statusOf(err), Message: err.Error()}},
		ErrorMessage: err.Error(),
	})
	return nil
}

// reference joins a name and what the API calls its tag: a tag, a digest or
// nothing, which means latest.
func reference(name, tag string) string {
	switch {
	case tag == "":
		return name
	case strings.Contains(tag, ":"):
		return name + "@" + tag
	}
	return name + ":" + tag
}

// message is one line of a progress stream. Docker's clients before 1.24 read
// the error's text from a field of its own, and their successors still may.
type message struct {
	jsonstream.Message
	ErrorMessage string `json:"error,omitempty"`
}

// progress returns p's counters. A step of a layer has them, be they zero, since
// clients keep one line for everything that has an ID and counters.
func progress(p engine.Progress) *jsonstream.Progress {
	if p.ID == "" || strings.HasPrefix(p.Status, "Pulling from ") {
		return nil
	}
	return &jsonstream.Progress{Current: p.Current, Total: p.Total}
}

// messages writes a progress stream, each message at once.
type messages struct {
	w     http.ResponseWriter
	begun bool
}

// send writes m. A client that is gone ends the request's context, which ends
// the pull; there is nobody to tell of the failed write.
func (s *messages) send(m message) {
	line, err := json.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("a progress message cannot be encoded: %v", err))
	}
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", "application/json")
		s.w.WriteHeader(http.StatusOK)
	}
	_, _ = s.w.Write(append(line, '\r', '\n'))
	_ = http.NewResponseController(s.w).Flush()
}

// writeList answers a list, [] when it is empty: a client may not expect null.
func writeList[T any](w http.ResponseWriter, list []T) error {
	if list == nil {
		list = []T{}
	}
	return writeJSON(w, http.StatusOK, list)
}
