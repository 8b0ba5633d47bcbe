// Package runtime is the last chapter: the six before it, put together to an
// engine. It has no code of its own; read README.md, then the packages in this
// order:
//
//   - oci: a bundle becomes a container. drydock-runtime is its program.
//   - shim: who stands behind a container while the daemon comes and goes.
//   - engine: containers, images and networks, and what of them must be remembered.
//   - api: Docker Engine's REST API over the engine. drydockd is the program of both.
//   - cli: the client, one file a command. drydock is its program.
//   - builtin: the two images that every engine has from the start.
package runtime
