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

// caught are the caller's signals, which go to a process that is yet to be ready.
// Until it is, one of them ends what is being made. From the process's end on
// they are ignored, so that none interrupts what is left to do. Nil are those of
// a caller who does not wait for the process: they stay as they are.
type caught struct {
	cancel context.CancelCauseFunc
	all    chan struct{} // closed when all are caught
	target chan func(os.Signal)
}

// newCaught returns signals to be caught, and the context that they end.
func newCaught(ctx context.Context) (context.Context, *caught) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &caught{cancel, make(chan struct{}), make(chan func(os.Signal))}
}

// catch begins to catch them. That takes three threads and some ten changes
// between them, so its place is where the process starts and this one waits.
func (c *caught) catch() {
	if c == nil {
		return
	}
	go func() {
		signals := make(chan os.Signal, 64)
		signal.Notify(signals, forwarded...)
		close(c.all)
		to := func(s os.Signal) {
			if s != unix.SIGWINCH {
				c.cancel(fmt.Errorf("got %v", s))
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
}

// pass has the signals go to the process from now on.
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
