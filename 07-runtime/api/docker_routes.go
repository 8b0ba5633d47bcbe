//go:build linux

package api

import (
	"net/http"
)

// dockerRoutes are the routes of Docker's API, version 1.56, that are not
// served: a client that asks for one is told so in other words than one that
// mistypes a path.
var dockerRoutes = newPatterns(
	"GET /containers/{id}/top",
	"GET /containers/{id}/changes",
	"GET /containers/{id}/export",
	"GET /containers/{id}/stats",
	"POST /containers/{id}/restart",
	"POST /containers/{id}/update",
	"POST /containers/{id}/rename",
	"POST /containers/{id}/pause",
	"POST /containers/{id}/unpause",
	"GET /containers/{id}/attach/ws",
	"GET /containers/{id}/archive",
	"PUT /containers/{id}/archive",
	"POST /containers/prune",
	"POST /build",
	"POST /build/prune",
	"POST /commit",
	"POST /session",
	"GET /events",
	"GET /system/df",
	"GET /images/{name...}",
	"POST /images/{name...}",
	"GET /distribution/{name...}",
	"GET /volumes",
	"GET /volumes/{name}",
	"PUT /volumes/{name}",
	"POST /volumes/{name}",
	"DELETE /volumes/{name}",
	"GET /networks",
	"GET /networks/{id}",
	"POST /networks/{id}",
	"POST /networks/{id}/{action}",
	"DELETE /networks/{id}",
	"/plugins/", "/swarm/", "/nodes/", "/services/", "/tasks/", "/secrets/", "/configs/",
	"GET /plugins", "GET /swarm", "GET /nodes", "GET /services", "GET /tasks", "GET /secrets", "GET /configs",
)

func newPatterns(patterns ...string) *http.ServeMux {
	mux := http.NewServeMux()
	for _, pattern := range patterns {
		mux.Handle(pattern, http.NotFoundHandler())
	}
	return mux
}

// dockerHas reports whether Docker's API has the route and this one has not.
func dockerHas(r *http.Request) bool {
	_, pattern := dockerRoutes.Handler(r)
	return pattern != ""
}
