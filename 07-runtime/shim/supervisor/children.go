//go:build linux

package supervisor

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// children collects every child's exit status: those of the programs that the
// shim starts, that of the container's first process, and those of orphans
// that came to the shim as their subreaper and would stay zombies.
type children struct {
	mu      sync.Mutex
	waiting map[int]chan syscall.WaitStatus
	// strays ended before anyone asked for them. The container's first process
	// may be among them, so they are kept until it is adopted.
	strays map[int]syscall.WaitStatus
}

func collectChildren() *children {
	c := &children{waiting: map[int]chan syscall.WaitStatus{}, strays: map[int]syscall.WaitStatus{}}
	// One pending notice is enough: each is answered by collecting all.
	deaths := make(chan os.Signal, 1)
	signal.Notify(deaths, syscall.SIGCHLD)
	go func() {
		for range deaths {
			c.collect()
		}
	}()
	return c
}

func (c *children) collect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		var how syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &how, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if w, ok := c.waiting[pid]; ok {
			delete(c.waiting, pid)
			w <- how
		} else if c.strays != nil {
			c.strays[pid] = how
		}
	}
}

// start runs a program. Its end is told on the channel, once.
func (c *children) start(name string, args []string, attr *os.ProcAttr) (<-chan syscall.WaitStatus, error) {
	// Locked, so that it cannot be collected before it is known.
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := os.StartProcess(name, args, attr)
	if err != nil {
		return nil, err
	}
	w := make(chan syscall.WaitStatus, 1)
	c.waiting[p.Pid] = w
	return w, p.Release()
}

// adopt returns the channel on which the end of the container's first process
// is told, also when that was before.
func (c *children) adopt(pid int) <-chan syscall.WaitStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := make(chan syscall.WaitStatus, 1)
	if how, ok := c.strays[pid]; ok {
		w <- how
	} else {
		c.waiting[pid] = w
	}
	c.strays = nil
	return w
}
