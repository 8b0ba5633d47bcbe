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
	// strays ended before anyone asked for them. What a runtime is making may be
	// among them, so they are kept while one is at work.
	strays map[int]syscall.WaitStatus
	making int
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
		} else if c.making > 0 {
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

// adopt calls process, which has a runtime make a process that becomes a child of
// the shim, and returns its number and the channel on which its end is told,
// also when that was before.
func (c *children) adopt(process func() (pid int, err error)) (pid int, ended <-chan syscall.WaitStatus, err error) {
	c.mu.Lock()
	c.making++
	c.mu.Unlock()
	pid, err = process()
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() {
		if c.making--; c.making == 0 {
			clear(c.strays)
		}
	}()
	if err != nil {
		return 0, nil, err
	}
	w := make(chan syscall.WaitStatus, 1)
	if how, ok := c.strays[pid]; ok {
		w <- how
	} else {
		c.waiting[pid] = w
	}
	return pid, w, nil
}

// kill ends a process that was adopted, if it has not ended.
func (c *children) kill(pid int) {
	// Locked, so that it is not collected, and its number somebody else's, before the signal.
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[pid] != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
