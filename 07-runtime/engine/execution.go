//go:build linux

package engine

import (
	"slices"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
)

// execution is one exec: a further process of a container, from the moment in which it was asked
// for. It lives in the engine's memory alone: an engine that is started again knows of none, and
// what it had begun goes on without it.
type execution struct {
	id        string
	container *Container
	run       *run // in which it was asked for; it can be started in no other
	options   container.ExecCreateRequest
	keys      []byte

	mu       sync.Mutex
	started  bool
	pid      int // while the process runs
	exitCode *int
	endedAt  time.Time
	ended    chan struct{} // closed when exitCode is known, or nobody will know it
}

// execKept is how long the result of an exec can be asked for.
const execKept = 5 * time.Minute

// over tells whether nobody is expected to ask for it any more.
func (x *execution) over() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.started {
		select {
		case <-x.run.ended:
			return true
		default:
			return false
		}
	}
	return x.exitCode != nil && time.Since(x.endedAt) > execKept
}

func (e *Engine) execution(id string) (*execution, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if x := e.execs[id]; x != nil {
		return x, nil
	}
	return nil, notFound("No such exec instance: %s", id)
}

// execIDs are the processes that exec has running in the container, nil for none.
func (e *Engine) execIDs(c *Container) []string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var ids []string
	for id, x := range e.execs {
		x.mu.Lock()
		if x.container == c && x.pid != 0 {
			ids = append(ids, id)
		}
		x.mu.Unlock()
	}
	slices.Sort(ids)
	return ids
}

// begin claims the exec for the one that starts it.
func (x *execution) begin() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.exitCode != nil:
		return conflict("Error: Exec command %s has already run", x.id)
	case x.started:
		return conflict("Error: Exec command %s is already running", x.id)
	}
	x.started = true
	return nil
}

func (x *execution) runs(pid int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.pid = pid
}

func (x *execution) end(code int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.pid, x.exitCode, x.endedAt = 0, &code, time.Now()
}
