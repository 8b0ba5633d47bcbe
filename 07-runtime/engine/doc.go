// Package engine keeps containers, images and the network they share.
//
// It is the one owner of what the daemon knows. What must outlive the machine
// stands in a bbolt file below Options.Root, what dies with the machine stands
// below Options.State, and what the kernel or a container's shim knows better
// is asked there and written down nowhere: which process runs is the shim's
// fact, how it ended stands in the exit.json that the shim leaves behind.
//
// A container is started by two things at once that have nothing to say to
// each other: chapter 5 plugs a cable into a new network namespace, and the
// shim mounts the layers and has the OCI runtime create the process. When both
// are ready the process is let go.
//
// The engine may die at any moment (kill -9): containers go on, because their
// shims own them. [Open] compares what is written with what runs and makes
// both agree again.
//
// The package knows nothing of HTTP. Its errors carry a kind of
// github.com/containerd/errdefs and the words that Docker uses; its vocabulary
// is the Docker Engine API's, github.com/moby/moby/api.
//
// Not safe: a container's root is untrusted, and whoever may use the engine is
// root on the host (a bind mount of / is enough). Who may use it is decided by
// whoever holds the socket, not here.
package engine
