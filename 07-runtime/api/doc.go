// Package api serves Docker's Engine API over an engine.
//
// Each route is one handler that reads the request, calls one method of the
// engine and writes what it returns; nothing is decided here. What a client
// sees of an error is its text in {"message": …} and the HTTP status that
// follows from its github.com/containerd/errdefs kind, so a new kind of failure
// needs no new code in a handler.
//
// Three requests are not plain question and answer. A wait answers its headers
// when the engine has registered the waiter, and its body when the container
// has ended, so that a client knows that it cannot miss the exit of a container
// that it starts next. An attach leaves HTTP: after the header the connection
// carries the container's streams. An explain stream (the one route that Docker
// does not have) carries what the engine asks the kernel on behalf of the
// requests that name it in the header Drydock-Explain.
//
// Not safe: the API has no users and no permissions. Whoever may connect to it
// is root on the host, because a container may mount any directory. The socket's
// mode and group are the whole of the access control.
//
// The routes are those of https://docs.docker.com/reference/api/engine/; a route
// of Docker's that is not served answers 501 and says so.
package api
