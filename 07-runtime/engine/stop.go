//go:build linux

package engine

import (
	"context"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// defaultStopTimeout is how long a container has to end after its stop signal, in seconds.
const defaultStopTimeout = 10

// ContainerStop asks a container to end, by signal or by what its config says (SIGTERM if nothing),
// and kills it when it has not ended after timeout seconds (nil: what its config says, else 10;
// negative: never). It returns when the container has ended; NotModified when it did not run.
func (e *Engine) ContainerStop(ctx context.Context, id, signal string, timeout *int) error {
	c, err := e.find(id)
	if err != nil {
		return err
	}
	rec, _, _ := c.snapshot()
	if signal == "" {
		signal = rec.Config.StopSignal
	}
	sig := unix.SIGTERM
	if signal != "" {
		if sig, err = parseSignal(signal); err != nil {
			return err
		}
	}
	seconds := defaultStopTimeout
	if rec.Config.StopTimeout != nil {
		seconds = *rec.Config.StopTimeout
	}
	if timeout != nil {
		seconds = *timeout
	}

	r := c.running()
	if r == nil {
		return notModified("container %s is already stopped", id)
	}
	if err := r.shim.Signal(ctx, sig); err != nil && !isEnding(err) {
		return err
	}
	var patience <-chan time.Time
	if seconds >= 0 {
		timer := time.NewTimer(time.Duration(seconds) * time.Second)
		defer timer.Stop()
		patience = timer.C
	}
	select {
	case <-r.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-patience:
	}
	return r.kill(ctx)
}

// kill ends a run at once and waits until it is undone.
func (r *run) kill(ctx context.Context) error {
	if err := r.shim.Signal(ctx, unix.SIGKILL); err != nil && !isEnding(err) {
		return err
	}
	select {
	case <-r.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isEnding tells whether a signal could not be sent because there is no process any more, or no
// shim: the run's watcher sees to the rest.
func isEnding(err error) bool {
	return errdefs.IsFailedPrecondition(err) || errdefs.IsNotFound(err) || errdefs.IsUnavailable(err)
}
