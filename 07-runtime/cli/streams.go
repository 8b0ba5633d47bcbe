package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
	"github.com/moby/term"
	"github.com/spf13/pflag"
)

// streamFlags are those of the commands that join a container's streams.
type streamFlags struct {
	detachKeys string
	sigProxy   bool
}

func (f *streamFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.detachKeys, "detach-keys", "ctrl-p,ctrl-q", "Key sequence for detaching a container")
	flags.BoolVar(&f.sigProxy, "sig-proxy", true, "Proxy received signals to the process")
}

// errDetached says that the user has left a container that goes on.
var errDetached = errors.New("read escape sequence")

// stream copies between the user and an attached process until the process's
// output ends, or the user types the detach keys on a terminal, whose size
// resize passes on.
func (c *cli) stream(ctx context.Context, attached client.HijackedResponse, resize func(ctx context.Context, height, width uint), tty, stdin bool, detachKeys string) error {
	var input io.Reader = c.in
	if tty {
		defer c.watchSize(ctx, resize)()
		if stdin && term.IsTerminal(c.in.Fd()) {
			keys, err := term.ToBytes(detachKeys)
			if err != nil {
				return fmt.Errorf("invalid argument %q for \"--detach-keys\" flag: %w", detachKeys, err)
			}
			input = term.NewEscapeProxy(c.in, keys)
			restore, err := c.rawTerminal()
			if err != nil {
				return err
			}
			defer restore()
		}
	}
	// A read of a terminal cannot be interrupted, so nobody waits for this
	// goroutine: it ends with the input or with the program.
	typed := make(chan error, 1)
	if stdin {
		go func() {
			_, err := io.Copy(attached.Conn, input)
			_ = attached.CloseWrite()
			typed <- err
		}()
	}
	shown := make(chan error, 1)
	go func() {
		var err error
		if tty {
			_, err = io.Copy(c.out, attached.Reader)
		} else {
			_, err = stdcopy.StdCopy(c.out, c.err, attached.Reader)
		}
		shown <- err
	}()
	for {
		select {
		case err := <-shown:
			return err
		case err := <-typed:
			var detach term.EscapeError
			if errors.As(err, &detach) {
				return errDetached
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// checkTerminal refuses a terminal in the container that has none on this side:
// what is typed could not be edited, and control keys would do nothing.
func (c *cli) checkTerminal(tty, stdin bool) error {
	if tty && stdin && !term.IsTerminal(c.in.Fd()) {
		return &exitError{1, "the input device is not a TTY; use -i without -t to pipe something into the container"}
	}
	return nil
}

// rawTerminal hands every key to the container: no echo, no line editing, no
// signals on this side.
func (c *cli) rawTerminal() (restore func(), err error) {
	in, err := term.SetRawTerminal(c.in.Fd())
	if err != nil {
		return nil, fmt.Errorf("set the terminal to raw mode: %w", err)
	}
	// On Windows the output has a mode of its own; elsewhere it is the same device.
	out, err := term.SetRawTerminalOutput(c.out.Fd())
	if err != nil {
		out = nil
	}
	return func() {
		_ = term.RestoreTerminal(c.in.Fd(), in)
		if out != nil {
			_ = term.RestoreTerminal(c.out.Fd(), out)
		}
	}, nil
}

// proxySignals sends this program's signals to the container, until the
// function that it returns is called.
func (c *cli) proxySignals(ctx context.Context, id string) (stop func()) {
	return c.signals.proxy(func(sig os.Signal) {
		// It may have ended already, or not have begun: then there is nobody to signal.
		_, _ = c.conn.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: signalName(sig)})
	})
}

// watchSize keeps the process's terminal as large as this one.
func (c *cli) watchSize(ctx context.Context, resize func(ctx context.Context, height, width uint)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var known term.Winsize
		for range c.sizeChanges(ctx) {
			size, err := term.GetWinsize(c.out.Fd())
			if err != nil || *size == known {
				continue
			}
			known = *size
			resize(ctx, uint(size.Height), uint(size.Width))
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
