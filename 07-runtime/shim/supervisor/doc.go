// Package supervisor is the program drydock-shim: the parent of one container.
//
// [Run] reads from top to bottom as the container's life: mount the root file
// system, have the runtime create the container, serve requests, wait for the
// end, drain the output, record how it ended, have the runtime delete it. The
// engine's side, and the protocol between the two, is package shim.
//
// The output goes to the log and to every attached client, and neither can
// hold the container up: see [queue] for the client that does not read.
//
// When the first process has ended, the output is read to its end, which comes
// when the last process that holds it has gone. In a PID namespace of its own
// that is at once. Where a process escaped that (the container shares the
// host's PID namespace, or passed the pipe to a stranger) the rest is waited
// for as long as Docker does, ten seconds, and then given up.
package supervisor
