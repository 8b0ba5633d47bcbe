//go:build linux

package oci

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// RunOptions are CreateOptions and what becomes of the container afterwards.
type RunOptions struct {
	CreateOptions
	Detach bool // return when the program runs
	Keep   bool // leave the container when it has stopped
}

// Run creates and starts a container and, unless it is detached, waits for its
// end: its streams are the caller's, also where it has a terminal, signals are
// passed on, and the result is its exit status, 128+n when signal n ended it.
func (r Runtime) Run(ctx context.Context, id string, opt RunOptions) (status int, err error) {
	var signals *caught
	if !opt.Detach {
		ctx, signals = newCaught(ctx)
	}
	var relay *terminal
	defer func() { relay.end() }()
	console := func(wanted bool) (socket *os.File, err error) {
		relay, socket, err = connectTerminal(wanted, opt.Detach, opt.ConsoleSocket)
		return socket, err
	}
	create := opt.CreateOptions
	create.PidFile = "" // who waits for it here waits for the program
	c, p, err := r.create(ctx, id, create, console, signals, false)
	if err != nil {
		return 0, err
	}
	defer c.release()
	undo := func(err error) (int, error) {
		p.Kill()
		p.Wait()
		return 0, errors.Join(err, c.remove(context.WithoutCancel(ctx)))
	}
	if relay != nil {
		if err := relay.begin(); err != nil {
			return undo(err)
		}
	}
	var n *notification
	if c.Notify {
		if n, err = c.listenNotify(opt.NotifySocket); err != nil {
			return undo(err)
		}
		defer n.close()
	}
	// Before the start: the program's first word may be answered with a signal.
	signals.pass(p, relay)
	if err := p.Start(ctx); err != nil {
		return undo(err)
	}
	if opt.PidFile != "" {
		if err := writePidFile(opt.PidFile, p.Pid); err != nil {
			return undo(err)
		}
	}
	if err := c.poststart(ctx); err != nil {
		return undo(err)
	}
	// Others may look at it, and delete it, while it runs.
	c.release()
	if n != nil && opt.Detach {
		if err := n.relay(ctx, c); err != nil {
			return 0, err
		}
	}
	if opt.Detach {
		return 0, p.Release()
	}
	if n != nil {
		relayed := make(chan error, 1)
		go func() { relayed <- n.relay(ctx, c) }()
		defer func() { err = errors.Join(err, <-relayed) }() // it ends with the container
	}

	state, err := p.Wait()
	if err != nil {
		return 0, err
	}
	if opt.Keep {
		return exitStatus(state), nil
	}
	if err := r.Delete(ctx, id, true); err != nil {
		return 0, err
	}
	return exitStatus(state), nil
}

func exitStatus(state *os.ProcessState) int {
	how := state.Sys().(syscall.WaitStatus)
	if how.Signaled() {
		return 128 + int(how.Signal())
	}
	return how.ExitStatus()
}
