//go:build linux

package api

import (
	"net/http"

	"github.com/moby/moby/api/types/container"
)

func (s *server) execCreate(w http.ResponseWriter, r *http.Request) error {
	var req container.ExecCreateRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	id, err := s.engine.ExecCreate(detached(r), r.PathValue("id"), req)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, container.ExecCreateResponse{ID: id})
}

// execStart runs the process, and joins the client's connection and its streams.
func (s *server) execStart(w http.ResponseWriter, r *http.Request) error {
	var req container.ExecStartRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	x, err := s.engine.ExecInspect(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	streams, err := s.engine.ExecStart(detached(r), x.ID, req)
	if err != nil {
		return err
	}
	if req.Detach {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	return s.hijack(w, r, framed(r, x.ProcessConfig.Tty), streams)
}

func (s *server) execResize(w http.ResponseWriter, r *http.Request) error {
	return resize(w, r, s.engine.ExecResize)
}

func (s *server) execInspect(w http.ResponseWriter, r *http.Request) error {
	x, err := s.engine.ExecInspect(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, x)
}
