//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	cgroups "drydock.example/03-cgroups"
	networking "drydock.example/05-networking"
	"drydock.example/07-runtime/shim"
)

// load reads the containers' records. Nothing is compared with the kernel yet.
func (e *Engine) load() error {
	records, err := e.records()
	if err != nil {
		return err
	}
	for _, r := range records {
		e.containers[r.ID] = newContainer(e, r)
		e.names[r.Name] = r.ID
	}
	return nil
}

// addresses returns the addresses that containers have which ran when the last engine ended.
func (e *Engine) addresses() []netip.Addr {
	var used []netip.Addr
	for _, c := range e.all() {
		if rec, _, _ := c.snapshot(); rec.Endpoint != nil {
			used = append(used, rec.Endpoint.Address.Addr())
		}
	}
	return used
}

// restore compares what is written with what runs, after an engine that may have been killed at
// any moment, and makes both agree.
func (e *Engine) restore(ctx context.Context) error {
	// A directory without a record is a creation or a removal that did not finish.
	if err := e.removeUnknown(ctx); err != nil {
		return err
	}
	var each sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, c := range e.all() {
		_, err := os.Stat(c.bundle())
		if rec, _, _ := c.snapshot(); !rec.State.running() && os.IsNotExist(err) {
			continue
		}
		each.Go(func() {
			if err := c.restore(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("restore container %s: %w", c.id, err))
			}
		})
	}
	each.Wait()
	return errors.Join(append(errs, e.restoreNetwork(ctx))...)
}

// removeUnknown removes the directories of containers that have no record, and what may run there.
func (e *Engine) removeUnknown(ctx context.Context) error {
	for _, parent := range []string{e.opt.State, e.opt.Root} {
		parent = filepath.Join(parent, "containers")
		entries, err := os.ReadDir(parent)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			id := entry.Name()
			if e.containers[id] != nil {
				continue
			}
			if parent == filepath.Join(e.opt.State, "containers") {
				if client, err := shim.Dial(filepath.Join(parent, id)); err == nil {
					e.abort(ctx, id, client)
				} else {
					e.sweep(ctx, id)
				}
			}
			if err := os.RemoveAll(filepath.Join(parent, id)); err != nil {
				return err
			}
		}
	}
	return nil
}

// restore takes over the container's run, or records how it ended.
func (c *Container) restore(ctx context.Context) error {
	e := c.engine
	rec, _, _ := c.snapshot()
	r := &run{ended: make(chan struct{})}
	client, err := shim.Dial(c.bundle())
	if err == nil {
		status, err := client.Status(ctx)
		switch {
		case err == nil && status.Started && rec.State.running():
			r.pid, r.shim = status.Pid, client
			r.ports = rereserve(ctx, rec.Endpoint)
			if rec.Endpoint != nil {
				e.bridge.plug(rec.Endpoint)
			}
			c.mu.Lock()
			c.run = r
			c.mu.Unlock()
			e.watch(c, r)
			return nil
		case err == nil && !status.Started:
			// The engine ended between create and start, and nobody waits for that start any more.
			e.abort(ctx, c.id, client)
			return c.neverStarted(ctx)
		}
		// It is on its way out: what it has to tell will stand in exit.json.
		client.Wait(ctx)
	}

	exit, err := shim.ReadExit(c.dir(exitFile))
	if err != nil {
		// The shim is dead too. Whatever still runs is nobody's.
		exit = shim.Exit{Code: 137, Signal: 9, FinishedAt: time.Now().UTC()}
	}
	e.sweep(ctx, c.id)
	if !rec.State.running() {
		return os.RemoveAll(c.bundle())
	}
	e.ended(c, r, exit)
	return nil
}

// neverStarted puts a container whose start was cut off back to where it was before.
func (c *Container) neverStarted(ctx context.Context) error {
	c.mu.Lock()
	rec := c.rec
	plugged := rec.Endpoint
	rec.Endpoint = nil
	rec.State.Status = container.StateCreated
	if !rec.State.FinishedAt.IsZero() {
		rec.State.Status = container.StateExited
	}
	rec.State.Error = "the engine ended while the container was being started"
	c.rec = rec
	c.mu.Unlock()
	return errors.Join(c.engine.unplug(ctx, plugged, nil), os.RemoveAll(c.bundle()), c.engine.save(&rec))
}

// rereserve takes a running container's host ports again: the reservations of the last engine
// ended with its process. A port that somebody has taken meanwhile stays theirs, and the rules
// still lead it to the container.
func rereserve(ctx context.Context, ep *endpoint) reservations {
	var held reservations
	if ep != nil {
		for _, p := range ep.Ports {
			if r, err := networking.Reserve(p); err == nil {
				held = append(held, r)
			}
		}
		held.relay(ctx, ep.Address.Addr())
	}
	return held
}

// restoreNetwork publishes the running containers' ports again, should someone have flushed the
// rules, and takes out the cables that no container has.
func (e *Engine) restoreNetwork(ctx context.Context) error {
	<-e.bridge.ready
	if e.bridge.err != nil {
		return nil // the first container that wants the network is told
	}
	errs := []error{e.bridge.repair(ctx)}
	plugged, err := e.bridge.network.Endpoints(ctx)
	errs = append(errs, err)
	e.bridge.mu.Lock()
	defer e.bridge.mu.Unlock()
	for _, ep := range plugged {
		if e.bridge.plugged[ep.Address.Addr()] == nil {
			errs = append(errs, e.bridge.network.Disconnect(ctx, &ep))
		}
	}
	return errors.Join(errs...)
}

func (e *Engine) runtimeRoot() string { return filepath.Join(e.opt.State, "runtime") }

// abort ends a container that is being created or was created, and is not to run.
func (e *Engine) abort(ctx context.Context, id string, client *shim.Client) {
	// In the middle of its creation there is nothing yet that could be killed.
	_, err := client.Created(ctx)
	if err == nil {
		if err = client.Signal(ctx, unix.SIGKILL); err == nil || isEnding(err) {
			_, err = client.Wait(ctx)
		}
	}
	if err != nil {
		e.sweep(ctx, id)
	}
}

// sweep ends what a dead shim has left of a container: its processes, its cgroup, the runtime's
// state. It is for what nobody can be asked about, so it reports nothing: what cannot be removed
// now is met again at the next start.
func (e *Engine) sweep(ctx context.Context, id string) {
	cgroup, err := cgroups.Load(path.Join(e.opt.CgroupParent, id))
	if err == nil {
		cgroup.Kill(ctx)
	}
	if _, err := os.Stat(filepath.Join(e.runtimeRoot(), id)); err == nil {
		exec.CommandContext(ctx, e.opt.Runtime, "--root", e.runtimeRoot(), "delete", "--force", id).Run()
	}
	if cgroup != nil {
		wait, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		cgroup.Delete(wait)
	}
}
