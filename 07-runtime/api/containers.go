//go:build linux

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

func (s *server) containerList(w http.ResponseWriter, r *http.Request) error {
	f, err := filters(r)
	if err != nil {
		return err
	}
	limit, _, err := integer(r, "limit")
	if err != nil {
		return err
	}
	list, err := s.engine.ContainerList(r.Context(), flag(r, "all"), limit, f)
	if err != nil {
		return err
	}
	return writeList(w, list)
}

func (s *server) containerInspect(w http.ResponseWriter, r *http.Request) error {
	c, err := s.engine.ContainerInspect(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if minor, ok := apiMinor(r.Context()); ok && minor < 52 {
		return writeJSON(w, http.StatusOK, withAddresses(c))
	}
	return writeJSON(w, http.StatusOK, c)
}

// What changes a container is done to its end also when the client leaves
// half-way, so that no container is left between two states. Only a pull, which
// may take minutes and can be repeated, ends with its client.
func detached(r *http.Request) context.Context { return context.WithoutCancel(r.Context()) }

func (s *server) containerCreate(w http.ResponseWriter, r *http.Request) error {
	var req container.CreateRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	if req.Config == nil {
		return errdefs.ErrInvalidArgument.WithMessage("config cannot be empty in order to create a container")
	}
	created, err := s.engine.ContainerCreate(detached(r), r.URL.Query().Get("name"), req)
	if err != nil {
		return err
	}
	if created.Warnings == nil {
		created.Warnings = []string{}
	}
	return writeJSON(w, http.StatusCreated, created)
}

func (s *server) containerStart(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Query().Get("checkpoint") != "" {
		return errdefs.ErrNotImplemented.WithMessage("starting from a checkpoint is not served yet")
	}
	return noContent(w, s.engine.ContainerStart(detached(r), r.PathValue("id")))
}

func (s *server) containerStop(w http.ResponseWriter, r *http.Request) error {
	var timeout *int
	seconds, ok, err := integer(r, "t")
	if err != nil {
		return err
	}
	if ok {
		timeout = &seconds
	}
	return noContent(w, s.engine.ContainerStop(detached(r), r.PathValue("id"), r.URL.Query().Get("signal"), timeout))
}

func (s *server) containerKill(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, s.engine.ContainerKill(detached(r), r.PathValue("id"), r.URL.Query().Get("signal")))
}

func (s *server) containerRemove(w http.ResponseWriter, r *http.Request) error {
	if flag(r, "link") {
		return errdefs.ErrNotImplemented.WithMessage("links between containers are not served")
	}
	return noContent(w, s.engine.ContainerRemove(detached(r), r.PathValue("id"), flag(r, "force"), flag(r, "v")))
}

func (s *server) containerResize(w http.ResponseWriter, r *http.Request) error {
	return resize(w, r, s.engine.ContainerResize)
}

// resize reads a terminal's size and hands it to do.
func resize(w http.ResponseWriter, r *http.Request, do func(ctx context.Context, id string, height, width uint) error) error {
	var size [2]uint
	for i, name := range []string{"h", "w"} {
		n, ok, err := integer(r, name)
		if err != nil {
			return err
		}
		if !ok || n < 0 || n > 1<<16-1 {
			return invalidQuery(name, r.URL.Query().Get(name), "want a terminal's size in characters, 0 to 65535")
		}
		size[i] = uint(n)
	}
	if err := do(detached(r), r.PathValue("id"), size[0], size[1]); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// containerWait answers its headers as soon as the engine has the waiter: from
// then on the client may start the container and cannot miss its end.
func (s *server) containerWait(w http.ResponseWriter, r *http.Request) error {
	condition := container.WaitCondition(r.URL.Query().Get("condition"))
	switch condition {
	case "":
		condition = container.WaitConditionNotRunning
	case container.WaitConditionNotRunning, container.WaitConditionNextExit, container.WaitConditionRemoved:
	default:
		return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("invalid condition: %q", condition))
	}
	ended, err := s.engine.ContainerWait(r.Context(), r.PathValue("id"), condition)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if err := http.NewResponseController(w).Flush(); err != nil {
		return nil // The client is gone.
	}
	select {
	case response := <-ended:
		_ = json.NewEncoder(w).Encode(response)
	case <-r.Context().Done():
	}
	return nil
}

// noContent answers 204 unless there is an error to answer.
func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
