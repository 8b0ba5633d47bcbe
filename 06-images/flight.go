//go:build linux

package images

import (
	"context"
	"sync"
)

// flights lets those who want the same thing at the same time wait for one
// piece of work. The zero value is ready.
type flights struct {
	mu sync.Mutex
	m  map[string]*flight
}

// flight is one piece of work under way.
type flight struct {
	done   chan struct{} // closed when the work has ended and err is set
	err    error
	cancel context.CancelFunc

	// Guarded by flights.mu.
	waiting   map[int]func(Progress)
	last      Progress // for those who join late
	abandoned bool     // all who waited have left: nobody may join
}

// do runs work for key, or waits for whoever does so already, and tells
// progress what happens to it. The work does not end because one of those who
// wait gives up; when the last one does, it is cancelled, and do returns once it has
// ended. Who joined a work that failed tries again: the failure may be that of
// the other's registry or credentials.
func (f *flights) do(ctx context.Context, key string, progress func(Progress), work func(context.Context, func(Progress)) error) error {
	for {
		fl, ticket, started := f.join(ctx, key, progress, work)
		if fl == nil {
			return ctx.Err()
		}
		select {
		case <-fl.done:
		case <-ctx.Done():
			if f.leave(fl, ticket) {
				<-fl.done // last one out: what was begun is undone before we say so
			}
			return context.Cause(ctx)
		}
		if fl.err == nil || started {
			return fl.err
		}
	}
}

// join returns the flight for key, which it starts where there is none. It
// waits for one that is being cancelled, and returns nil when ctx ends first.
func (f *flights) join(ctx context.Context, key string, progress func(Progress), work func(context.Context, func(Progress)) error) (fl *flight, ticket int, started bool) {
	for {
		f.mu.Lock()
		fl := f.m[key]
		if fl == nil {
			break
		}
		if !fl.abandoned {
			ticket := len(fl.waiting)
			fl.waiting[ticket] = progress
			last := fl.last
			f.mu.Unlock()
			if last != (Progress{}) {
				progress(last)
			}
			return fl, ticket, false
		}
		f.mu.Unlock()
		select {
		case <-fl.done:
		case <-ctx.Done():
			return nil, 0, false
		}
	}
	defer f.mu.Unlock()
	// The work keeps what ctx carries, but not its end.
	workCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	fl = &flight{done: make(chan struct{}), cancel: cancel, waiting: map[int]func(Progress){0: progress}}
	if f.m == nil {
		f.m = make(map[string]*flight)
	}
	f.m[key] = fl
	go func() {
		err := work(workCtx, func(p Progress) { f.tell(fl, p) })
		cancel()
		f.mu.Lock()
		delete(f.m, key)
		f.mu.Unlock()
		fl.err = err
		close(fl.done)
	}()
	return fl, 0, true
}

// leave gives up waiting, and says whether that ended the work.
func (f *flights) leave(fl *flight, ticket int) (last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.waiting[ticket] = nil
	for _, p := range fl.waiting {
		if p != nil {
			return false
		}
	}
	fl.abandoned = true
	fl.cancel()
	return true
}

// tell hands p to all who wait.
func (f *flights) tell(fl *flight, p Progress) {
	f.mu.Lock()
	fl.last = p
	waiting := make([]func(Progress), 0, len(fl.waiting))
	for _, progress := range fl.waiting {
		if progress != nil {
			waiting = append(waiting, progress)
		}
	}
	f.mu.Unlock()
	for _, progress := range waiting {
		progress(p)
	}
}
