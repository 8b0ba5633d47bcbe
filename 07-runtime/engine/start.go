//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	networking "drydock.example/05-networking"
	images "drydock.example/06-images"
	"drydock.example/07-runtime/shim"
)

// Names in a container's directory below Options.Root.
const (
	logFile  = "log"
	exitFile = "exit.json"
)

// ContainerStart starts a container. When it returns nil the program runs. Errors: NotModified
// when it ran already; InvalidArgument when the program cannot be executed (the text says
// "executable file not found", "permission denied" …, as Docker's does); Conflict for a port that
// is taken. After an error nothing of the start is left but State.Error and State.ExitCode.
func (e *Engine) ContainerStart(ctx context.Context, id string) error {
	c, err := e.find(id)
	if err != nil {
		return err
	}
	if err := c.begin(ctx); err != nil {
		return err
	}
	defer c.end()
	rec, _, removing := c.snapshot()
	switch {
	case c.isGone():
		return notFound("No such container: %s", id)
	case removing:
		return conflict("container %s is marked for removal and cannot be started", id)
	case rec.State.running():
		return notModified("container %s is already running", id)
	}
	if err := c.start(ctx, rec); err != nil {
		return errors.Join(err, c.startFailed(context.WithoutCancel(ctx), err))
	}
	return nil
}

// start makes everything that a run needs, or nothing. Its argument is the record as it is now,
// which start completes and, when all is well, makes the container's.
func (c *Container) start(ctx context.Context, rec record) (err error) {
	e := c.engine
	var undo []func()
	defer func() {
		if err != nil {
			for _, f := range slices.Backward(undo) {
				f()
			}
		}
	}()
	always := context.WithoutCancel(ctx)

	var held reservations
	rec.Endpoint = nil
	if rec.HostConfig.NetworkMode.IsBridge() {
		if rec.Endpoint, held, err = e.reserveEndpoint(ctx, &rec); err != nil {
			return err
		}
		undo = append(undo, func() { e.releaseEndpoint(rec.Endpoint, held) })
	}
	rec.State = state{Status: container.StateRunning, StartedAt: time.Now().UTC(), FinishedAt: rec.State.FinishedAt}

	// The engine may have another runtime than when the container was made.
	if err := e.checkInit(ctx, rec.HostConfig); err != nil {
		return err
	}
	launch, err := c.prepare(&rec)
	if err != nil {
		return err
	}
	undo = append(undo, func() { os.RemoveAll(c.bundle()) })
	if !rec.HostConfig.NetworkMode.IsHost() {
		if launch.Network, err = networking.NewNamespace(ctx); err != nil {
			return err
		}
		// The shim has a descriptor of its own when it runs, and the namespace goes with the shim.
		defer launch.Network.Close()
	}

	// The cable and the process have nothing to say to each other before the program runs, so
	// both are made at the same time. A failure of either waits for the other to be undone.
	var network sync.WaitGroup
	var networkErr error
	network.Go(func() {
		if rec.Endpoint != nil {
			if networkErr = e.connect(ctx, launch.Network, rec.Endpoint, held); networkErr != nil {
				return
			}
		}
		networkErr = e.save(&rec)
	})
	client, pid, err := c.launch(ctx, launch)
	network.Wait()
	if rec.Endpoint != nil {
		undo = append(undo, func() { e.disconnect(always, rec.Endpoint) })
	}
	if err != nil {
		return err
	}
	undo = append(undo, func() { e.abort(always, c.id, client) })
	if networkErr != nil {
		return networkErr
	}

	if err := c.connectAttached(ctx, client); err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return startError(err)
	}
	r := &run{pid: pid, shim: client, ports: held, ended: make(chan struct{})}
	c.mu.Lock()
	c.rec, c.run = rec, r
	c.mu.Unlock()
	e.watch(c, r)
	return nil
}

// prepare writes the files that the run needs: the bundle, and what is mounted over the image's
// own files about the network.
func (c *Container) prepare(rec *record) (shim.LaunchOptions, error) {
	var none shim.LaunchOptions
	lower, err := c.engine.images.Lower(images.Image{ID: rec.Image, DiffIDs: rec.Layers})
	if err != nil {
		return none, err
	}
	// After a power cut the record may be there and a directory not.
	if err := c.makeDirs(); err != nil {
		return none, err
	}
	if err := c.netFiles(rec); err != nil {
		return none, err
	}
	spec, err := c.spec(rec, append([]string{c.dir("upper")}, lower...))
	if err != nil {
		return none, err
	}
	// How an earlier run ended is in the record; the file must speak of this one.
	if err := os.Remove(c.dir(exitFile)); err != nil && !os.IsNotExist(err) {
		return none, err
	}
	if err := os.RemoveAll(c.bundle()); err != nil {
		return none, err
	}
	if err := os.MkdirAll(c.bundle(shim.RootfsDir), 0o700); err != nil {
		return none, err
	}
	return shim.LaunchOptions{
		Config: shim.Config{
			ID:          c.id,
			Runtime:     c.engine.opt.Runtime,
			RuntimeRoot: c.engine.runtimeRoot(),
			Rootfs:      &shim.Rootfs{Lower: lower, Upper: c.dir("upper"), Work: c.dir("work")},
			Log:         c.dir(logFile),
			Exit:        c.dir(exitFile),
			Stdin:       rec.Config.OpenStdin,
		},
		Dir:  c.bundle(),
		Shim: c.engine.opt.Shim,
		Spec: spec,
	}, nil
}

// launch starts the shim and waits until the container is created.
func (c *Container) launch(ctx context.Context, opt shim.LaunchOptions) (*shim.Client, int, error) {
	client, err := shim.Launch(ctx, opt)
	if err != nil {
		return nil, 0, err
	}
	pid, err := client.Created(ctx)
	if err != nil {
		// The shim has undone what it began, unless it is not the shim that says so.
		if always := context.WithoutCancel(ctx); ctx.Err() != nil {
			c.engine.abort(always, c.id, client)
		} else if errdefs.IsUnavailable(err) {
			c.engine.sweep(always, c.id)
		}
		return nil, 0, startError(err)
	}
	return client, pid, nil
}

// startFailed notes why a container did not start, in its State, and removes it if it was to be
// removed at its end.
func (c *Container) startFailed(ctx context.Context, cause error) error {
	c.endAttached()
	c.mu.Lock()
	rec := c.rec
	rec.Endpoint = nil
	rec.State.Error = cause.Error()
	rec.State.ExitCode = exitCodeOf(cause)
	c.rec = rec
	c.mu.Unlock()
	if rec.HostConfig.AutoRemove {
		return c.remove(ctx)
	}
	return c.engine.save(&rec)
}

// ended undoes a run's network, records how the run ended, and tells whoever waits. A container that is
// to be removed at its end is removed.
func (e *Engine) ended(c *Container, r *run, exit shim.Exit) {
	ctx := context.WithoutCancel(e.ctx)
	rec, _, _ := c.snapshot()
	if err := e.unplug(ctx, rec.Endpoint, r.ports); err != nil {
		rec.State.Error = fmt.Sprintf("the network could not be undone: %v", err)
	}
	os.RemoveAll(c.bundle())

	rec.Endpoint = nil
	rec.State.Status = container.StateExited
	rec.State.ExitCode = exit.Code
	rec.State.OOMKilled = exit.OOMKilled
	rec.State.FinishedAt = exit.FinishedAt
	autoRemove := rec.HostConfig.AutoRemove
	if !autoRemove {
		if err := e.save(&rec); err != nil {
			rec.State.Error = fmt.Sprintf("the exit could not be recorded: %v", err)
		}
	}
	c.mu.Lock()
	c.rec, c.run = rec, nil
	c.answer(container.WaitConditionNotRunning, container.WaitConditionNextExit)
	close(r.ended)
	c.mu.Unlock()

	if autoRemove && c.begin(ctx) == nil {
		defer c.end()
		if !c.isGone() {
			c.remove(ctx)
		}
	}
}

// startError gives an error of the shim or the runtime Docker's words around it and its kind:
// what the user can correct is the user's error.
func startError(err error) error {
	err = fmt.Errorf("failed to create task for container: %w", err)
	if code := exitCodeOf(err); code == 126 || code == 127 {
		return invalid("%w", err)
	}
	return err
}

// exitCodeOf is the exit code that a shell would give for a program that cannot be executed, and
// 128 for whatever else keeps a container from starting.
func exitCodeOf(err error) int {
	text := err.Error()
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
	}
	switch {
	case has("executable file not found", unix.ENOENT.Error()):
		return 127
	case has(unix.EACCES.Error(), unix.EISDIR.Error(), unix.ENOTDIR.Error(), unix.ENOEXEC.Error()):
		return 126
	}
	return 128
}
