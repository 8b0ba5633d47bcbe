//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/moby/moby/api/types/container"
)

// ContainerRemove removes a container with its writable layer and its log. One that runs is a
// Conflict, or with force is killed first. volumes is accepted: there are no volumes to remove.
func (e *Engine) ContainerRemove(ctx context.Context, id string, force, volumes bool) error {
	c, err := e.find(id)
	if err != nil {
		return err
	}
	if r := c.running(); r != nil && !force {
		rec, _, _ := c.snapshot()
		return conflict("cannot remove container %q: container is running: stop the container before removing or force remove", "/"+rec.Name)
	}
	if !c.markRemoving() {
		return conflict("removal of container %s is already in progress", id)
	}
	// From here on nobody starts it: whoever is in the middle of that has the operation.
	if err := c.begin(ctx); err != nil {
		c.unmarkRemoving()
		return err
	}
	defer c.end()
	if c.isGone() {
		return notFound("No such container: %s", id) // by its own end, meanwhile
	}
	if r := c.running(); r != nil {
		// Without force it was started since we looked.
		if !force {
			c.unmarkRemoving()
			return conflict("cannot remove container %s: it has just been started", id)
		}
		if err := r.kill(ctx); err != nil {
			c.unmarkRemoving()
			return err
		}
	}
	return c.remove(ctx)
}

func (c *Container) markRemoving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removing {
		return false
	}
	c.removing = true
	return true
}

func (c *Container) unmarkRemoving() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removing = false
}

// isGone tells whether the container has been removed.
func (c *Container) isGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// remove removes a container that does not run. The caller has its operation.
func (c *Container) remove(ctx context.Context) error {
	e := c.engine
	c.mu.Lock()
	c.removing = true
	name := c.rec.Name
	c.mu.Unlock()
	// First the record: files without one are removed at the engine's next start at the latest.
	if err := e.forget(c.id); err != nil {
		c.unmarkRemoving()
		return err
	}
	err := errors.Join(os.RemoveAll(c.bundle()), os.RemoveAll(c.dir()))
	if err != nil {
		err = fmt.Errorf("container %s is removed, its files are not: %w", c.id, err)
	}

	e.mu.Lock()
	delete(e.containers, c.id)
	e.mu.Unlock()
	e.releaseName(c.id, name)
	c.release()
	c.endAttached()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	c.answer(container.WaitConditionNotRunning, container.WaitConditionNextExit, container.WaitConditionRemoved)
	return err
}
