// Package shim is the engine's side of a container's supervisor: it launches
// drydock-shim and talks to it.
//
// One drydock-shim stands behind each container that was started. It is the
// parent of the container's first process and outlives the engine, because
// three things have to: the terminal or pipes (closed pipes kill a program
// that writes), the log, and the exit status, which the kernel gives to the
// parent and to nobody else. The mounts of the container's root file system
// are made in the shim's own mount namespace, and its network namespace is
// held by a descriptor of the shim, so both are gone when the shim is gone,
// however it ended; there is no list of things to clean.
//
//	c, err := shim.Launch(ctx, shim.LaunchOptions{…}) // drydock-shim runs
//	pid, err := c.Created(ctx)                        // the runtime's create is done
//	conn, err := c.Attach(ctx, shim.AttachOptions{…}) // before the first byte of output
//	err = c.Start(ctx)
//	pid, conn, err := c.Exec(ctx, id, process, …)     // further processes, any number
//	exit, err := c.Wait(ctx)                          // nothing is left but exit.json
//
// The protocol is one connection to DIR/shim.sock for each request: a line of
// JSON asks, a line of JSON answers. After the answer to an attach the
// connection is the container's stream, framed as Docker's attach frames it,
// so that whoever passes it on copies bytes and looks at none.
//
// # When the shim dies
//
// A shim that is killed takes the container's root file system and the ends of
// its pipes along, not its processes. Requests then answer with an error of
// the kind errdefs.ErrUnavailable, and [Client.Wait] does so at once, by the
// end of its connection: it is for the engine to kill the cgroup and to record
// the status 137.
//
// # What is not safe
//
// The socket's directory is what protects it: whoever may write there may
// command the container.
package shim
