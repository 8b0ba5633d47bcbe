//go:build linux

package engine

import (
	"context"
	"path/filepath"
	"strings"
	"sync"

	"github.com/moby/moby/api/types/container"

	images "drydock.example/06-images"
	"drydock.example/07-runtime/shim"
)

// Container is one container of the engine: its record, and while it runs its shim.
//
// The lifecycle is created → running → exited → running … → removing. Whoever moves a
// container from one of these to the next (start, remove) holds the container's
// operation; mu is held for moments only, never while waiting.
type Container struct {
	engine *Engine
	id     string

	operation chan struct{} // holds one token; see begin

	mu       sync.Mutex
	rec      record
	removing bool // a removal is under way
	gone     bool // it is done
	run      *run // not nil while State.Status is running
	waiters  map[*waiter]struct{}
	attached map[*pendingConn]struct{} // attach calls that wait for the next start

	release func() // gives the image's layers free
}

// run is one run of a container, from its start to its exit.
type run struct {
	pid   int
	shim  *shim.Client
	ports reservations
	ended chan struct{} // closed when the exit is recorded and the network undone
}

func newContainer(e *Engine, r record) *Container {
	c := &Container{
		engine:    e,
		id:        r.ID,
		operation: make(chan struct{}, 1),
		rec:       r,
		waiters:   make(map[*waiter]struct{}),
		attached:  make(map[*pendingConn]struct{}),
	}
	c.holdLayers()
	return c
}

// holdLayers keeps the image's layers on disk for as long as there is the container, also when
// the image is removed.
func (c *Container) holdLayers() {
	c.release = c.engine.images.Hold(images.Image{ID: c.rec.Image, Manifest: c.rec.Manifest, DiffIDs: c.rec.Layers})
}

// begin waits until no other operation is under way on the container.
func (c *Container) begin(ctx context.Context) error {
	select {
	case c.operation <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end is begin's undo.
func (c *Container) end() { <-c.operation }

// snapshot returns the record as it is now, the pid of a running container, and whether it is being removed.
func (c *Container) snapshot() (rec record, pid int, removing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run != nil {
		pid = c.run.pid
	}
	return c.rec, pid, c.removing
}

// running returns the present run, or nil.
func (c *Container) running() *run {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run
}

// dir is what is kept of the container across reboots: upper, work, log, exit.json, hosts …
func (c *Container) dir(name ...string) string {
	return filepath.Join(append([]string{c.engine.opt.Root, "containers", c.id}, name...)...)
}

// bundle is the container's OCI bundle, which dies with the machine.
func (c *Container) bundle(name ...string) string {
	return filepath.Join(append([]string{c.engine.opt.State, "containers", c.id}, name...)...)
}

// find returns the container that has this ID, name or unique start of an ID.
func (e *Engine) find(nameOrID string) (*Container, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if c, ok := e.containers[nameOrID]; ok {
		return c, nil
	}
	if c, ok := e.containers[e.names[strings.TrimPrefix(nameOrID, "/")]]; ok {
		return c, nil
	}
	var found *Container
	if nameOrID != "" {
		for id, c := range e.containers {
			if !strings.HasPrefix(id, nameOrID) {
				continue
			}
			if found != nil {
				return nil, invalid("Multiple IDs found with provided prefix: %s", nameOrID)
			}
			found = c
		}
	}
	if found == nil {
		return nil, notFound("No such container: %s", nameOrID)
	}
	return found, nil
}

// all returns the engine's containers, in no order.
func (e *Engine) all() []*Container {
	e.mu.RLock()
	defer e.mu.RUnlock()
	list := make([]*Container, 0, len(e.containers))
	for _, c := range e.containers {
		list = append(list, c)
	}
	return list
}

// status is the state's name as the API has it.
func (r *record) status(removing bool) container.ContainerState {
	if removing {
		return container.StateRemoving
	}
	return r.State.Status
}
