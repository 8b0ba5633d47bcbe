// Package cli is the client: the docker verbs, spoken to a Drydock daemon.
//
// A command turns its flags into one or a few requests of the Docker Engine
// API, made through moby's own client, and prints what comes back the way the
// docker command does: the same tables, messages and exit statuses, so that
// scripts need not know which of the two they call. The client decides nothing
// about containers; it builds for macOS and Windows, too, and imports no
// chapter but the one that explains.
//
// Each command stands in the file of its name. What several share is in the
// files connection.go (which daemon, how it is reached, how it is started),
// containerflags.go (what create and run take), streams.go and terminal.go (a
// container's input and output).
//
// The exit status of `drydock run` is the container's own; 125 means that
// Drydock failed, 126 that the program could not be executed, 127 that it was
// not found. Every other command ends with 0, 1, or 125 for a wrong command line.
package cli
