//go:build linux

package engine

import (
	"context"

	"golang.org/x/sys/unix"
)

// ContainerKill sends a signal to the container's first process, SIGKILL when signal is "". After
// SIGKILL it returns when the container has ended. The error is a Conflict when it does not run.
func (e *Engine) ContainerKill(ctx context.Context, id, signal string) error {
	sig := unix.SIGKILL
	if signal != "" {
		var err error
		if sig, err = parseSignal(signal); err != nil {
			return err
		}
	}
	c, err := e.find(id)
	if err != nil {
		return err
	}
	r := c.running()
	if r == nil {
		return conflict("cannot kill container: %s: container %s is not running", id, c.id)
	}
	if sig == unix.SIGKILL {
		return r.kill(ctx)
	}
	if err := r.shim.Signal(ctx, sig); err != nil {
		if isEnding(err) {
			return conflict("cannot kill container: %s: container %s is not running", id, c.id)
		}
		return err
	}
	return nil
}

// ContainerResize sets the size of the container's terminal, in characters.
func (e *Engine) ContainerResize(ctx context.Context, id string, height, width uint) error {
	c, err := e.find(id)
	if err != nil {
		return err
	}
	r := c.running()
	if r == nil {
		return conflict("cannot resize a stopped container: container %s is not running", c.id)
	}
	if err := checkTerminalSize(height, width); err != nil {
		return err
	}
	return r.shim.Resize(ctx, uint16(height), uint16(width))
}

func checkTerminalSize(height, width uint) error {
	const most = 1<<16 - 1
	if height > most || width > most {
		return invalid("invalid size of a terminal: %d by %d characters", width, height)
	}
	return nil
}
