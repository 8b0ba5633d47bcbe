//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	cgroups "drydock.example/03-cgroups"
	networking "drydock.example/05-networking"
	images "drydock.example/06-images"
	"drydock.example/07-runtime/shim"
)

// DefaultCgroupParent is the cgroup below which containers' cgroups are made when nobody says otherwise.
const DefaultCgroupParent = "/drydock"

// Options say where an engine lives. Engines with different Root and State live beside each other
// on one host.
type Options struct {
	// Root holds what must survive a reboot: meta.db, content/, layers/, containers/ID/.
	Root string
	// State holds what dies with the machine: containers/ID/ (bundle, socket), runtime/.
	State string
	// Runtime is the OCI runtime's program: drydock-runtime, or any with runc's command line.
	Runtime string
	// Shim is the path of drydock-shim.
	Shim string
	// CgroupParent is the cgroup below which containers' cgroups are made, CgroupParent/ID.
	CgroupParent string
	// Version is what Version and Info report.
	Version string
	// Registries says how registries are reached: mirrors, certificates.
	Registries images.Registries
	// Builtin images are installed once into a fresh store.
	Builtin []Builtin
}

// Engine is one running engine. All its methods may be called at the same time.
type Engine struct {
	opt    Options
	id     string // of this engine for the API, made once
	db     *bbolt.DB
	images *images.Store
	bridge bridgeNetwork

	// ctx ends with Close; goroutines are what Close waits for.
	ctx        context.Context
	cancel     context.CancelFunc
	goroutines sync.WaitGroup
	unplugging sync.WaitGroup // of them, those that take out the cables of runs that have ended

	mu         sync.RWMutex
	containers map[string]*Container // by ID
	names      map[string]string     // name → ID, also of containers that are being created
	execs      map[string]*execution // by ID

	// imageUse is held for reading while a container is made of an image, for writing while images
	// are removed.
	imageUse sync.RWMutex
}

// Open opens the engine that lives in opt.Root and opt.State, and makes what is written there and
// what runs agree: containers that ran on without an engine are taken over, those that ended have
// their exit recorded, what was half made is removed. The error is Unavailable when another
// process has the engine open.
func Open(ctx context.Context, opt Options) (_ *Engine, err error) {
	if opt.CgroupParent == "" {
		opt.CgroupParent = DefaultCgroupParent
	}
	for _, dir := range []*string{&opt.Root, &opt.State} {
		if *dir, err = filepath.Abs(*dir); err != nil {
			return nil, err
		}
		// The state directory has the daemon's socket, to which others may be let.
		if err := os.MkdirAll(filepath.Join(*dir, "containers"), 0o700); err != nil {
			return nil, err
		}
	}
	db, err := images.OpenDB(filepath.Join(opt.Root, "meta.db"))
	if err != nil {
		return nil, err
	}
	e := &Engine{
		opt: opt, db: db,
		bridge:     bridgeNetwork{link: bridgeName(opt.State), ready: make(chan struct{}), plugged: make(map[netip.Addr]*networking.Endpoint)},
		containers: make(map[string]*Container),
		names:      make(map[string]string),
		execs:      make(map[string]*execution),
	}
	// The engine's own work goes on until Close, and narrates nothing to whoever opened it.
	e.ctx, e.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			e.cancel()
			e.goroutines.Wait()
			e.unplugging.Wait()
			db.Close()
		}
	}()
	if err := e.makeBuckets(); err != nil {
		return nil, err
	}
	if e.images, err = images.Open(opt.Root, db); err != nil {
		return nil, err
	}
	if err := e.load(); err != nil {
		return nil, err
	}
	// The network needs nothing of what follows: the first container that wants it waits for it.
	used := e.addresses()
	e.goroutines.Go(e.watchRules)
	e.goroutines.Go(func() {
		defer close(e.bridge.ready)
		e.bridge.err = e.bridge.setUp(context.WithoutCancel(ctx), db, used)
	})
	if err := errors.Join(e.installBuiltin(ctx), e.restore(ctx)); err != nil {
		return nil, err
	}
	return e, nil
}

// Close ends what the engine itself does. Containers go on. When none runs the network is removed
// too: the host is as it was.
func (e *Engine) Close() error {
	e.cancel()
	for _, c := range e.all() {
		c.endAttached()
	}
	e.goroutines.Wait()
	e.unplugging.Wait()
	var err error
	if !e.Busy() {
		// The host is as it was before the first container.
		err = cgroups.RemoveEmpty(context.Background(), e.opt.CgroupParent)
		if e.bridge.err == nil {
			err = errors.Join(err, e.bridge.network.Delete(context.Background()))
		}
	}
	return errors.Join(err, e.db.Close())
}

// Busy tells whether a container runs, so that its daemon should stay.
func (e *Engine) Busy() bool {
	for _, c := range e.all() {
		if rec, _, removing := c.snapshot(); rec.State.running() || removing {
			return true
		}
	}
	return false
}

// makeBuckets makes the engine's buckets, and its ID when the database is new.
func (e *Engine) makeBuckets() error {
	err := e.db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(engineBucket); b != nil {
			e.id = string(b.Get([]byte("id")))
		}
		return nil
	})
	if err != nil || e.id != "" {
		return err
	}
	return e.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{containersBucket, networksBucket, engineBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return fmt.Errorf("%s: bucket %s: %w", e.db.Path(), name, err)
			}
		}
		e.id = newID()
		return tx.Bucket(engineBucket).Put([]byte("id"), []byte(e.id))
	})
}

// watch waits for the end of a run and does what follows from it. It returns early when the
// engine is closed; the container goes on then.
func (e *Engine) watch(c *Container, r *run) {
	e.goroutines.Go(func() {
		exit, err := r.shim.Wait(e.ctx)
		if e.ctx.Err() != nil {
			return
		}
		if err != nil {
			exit = e.abandoned(c)
		}
		e.ended(c, r, exit)
	})
}

// abandoned clears up after a container whose shim is gone and has not told how it ended: what
// still runs is killed, because nobody can read its output or its exit status any more.
func (e *Engine) abandoned(c *Container) shim.Exit {
	e.sweep(context.WithoutCancel(e.ctx), c.id)
	if exit, err := shim.ReadExit(c.dir(exitFile)); err == nil {
		return exit // it had told after all
	}
	return shim.Exit{Code: 137, Signal: 9, FinishedAt: time.Now().UTC()}
}
