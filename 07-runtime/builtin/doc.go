// Package builtin holds the two images that every engine has from the start,
// so that a first run needs no network: hello, which says what has just
// happened to run it, and box, a small userland with a shell.
//
// Each is one static Go program, cmd/hello and cmd/box. `make build` compiles
// them into bin/, from where they are embedded; an engine that was built
// without them says so when it is asked for one.
package builtin
