//go:build linux

package api

import (
	"io"
	"net/http"
)

func (s *server) ping(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	// The only builder is the one of API 1.x's POST /build.
	h.Set("Builder-Version", "1")
	h.Set("Swarm", "inactive")
	_, _ = io.WriteString(w, "OK")
	return nil
}

func (s *server) version(w http.ResponseWriter, r *http.Request) error {
	v, err := s.engine.Version(r.Context())
	if err != nil {
		return err
	}
	// Which API is spoken is this package's fact, the rest is the engine's.
	v.APIVersion, v.MinAPIVersion = MaxVersion, MinVersion
	for _, component := range v.Components {
		if component.Name == "Engine" && component.Details != nil {
			component.Details["ApiVersion"], component.Details["MinAPIVersion"] = MaxVersion, MinVersion
			component.Details["Experimental"] = "false"
		}
	}
	return writeJSON(w, http.StatusOK, v)
}

func (s *server) info(w http.ResponseWriter, r *http.Request) error {
	info, err := s.engine.Info(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, info)
}
