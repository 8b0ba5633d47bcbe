//go:build linux

package oci

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	namespaces "drydock.example/02-namespaces"
)

// forwarded are the signals that people and supervisors send. Not all 65:
// package os/signal wakes another thread for each.
var forwarded = []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGWINCH}

// caught are the caller's signals, which go to a process that is yet to be made.
// Until then one of them ends what is being made. From the process's end on they
// are ignored, so that none interrupts what is left to do.
type caught struct {
	all    chan struct{} // closed when all are caught
	target chan func(os.Signal)
}

// catchSignals begins to catch them. That takes a millisecond, in which the
// process can be made.
func catchSignals(ctx context.Context) (context.Context, *caught) {
	ctx, cancel := context.WithCancelCause(ctx)
	c := &caught{all: make(chan struct{}), target: make(chan func(os.Signal))}
	go func() {
		signals := make(chan os.Signal, 64)
		signal.Notify(signals, forwarded...)
		close(c.all)
		to := func(s os.Signal) {
			if s != unix.SIGWINCH {
				cancel(fmt.Errorf("got %v", s))
			}
		}
		for {
			select {
			case to = <-c.target:
			case s := <-signals:
				to(s)
			}
		}
	}()
	return ctx, c
}

// pass has the signals go to the process from now on. Without any, which is what
// a caller has who does not wait for the process, it does nothing.
func (c *caught) pass(p *namespaces.Process, relay *terminal) {
	if c == nil {
		return
	}
	<-c.all
	c.target <- func(s os.Signal) {
		if s == unix.SIGWINCH && relay != nil {
			relay.resize()
		} else {
			p.Signal(s)
		}
	}
}
