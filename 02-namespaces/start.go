//go:build linux

package namespaces

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

var (
	// ErrNotFound is a program that the container's root does not have.
	// Engines answer it with exit status 127.
	ErrNotFound = errors.New("executable file not found")
	// ErrNotExecutable is a program that is there and cannot be executed.
	// Engines answer it with exit status 126.
	ErrNotExecutable = errors.New("not executable")
	// ErrNotWaiting is the answer of [Start] when no process waits at the fifo.
	ErrNotWaiting = errors.New("no process waits to be started")
)

// initError is a failure inside the process, with one of the errors above as
// its kind where it has one.
type initError struct {
	text string
	kind error
}

func (e *initError) Error() string { return e.text }
func (e *initError) Unwrap() error { return e.kind }

// read returns the process's next message, or the error that it reports.
func (p *Process) read() (message, error) {
	var m message
	switch err := p.in.Decode(&m); {
	case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET):
		return m, io.EOF
	case err != nil:
		return m, fmt.Errorf("read from the new process: %w", err)
	}
	if m.Error == "" {
		return m, nil
	}
	e := &initError{text: m.Error}
	switch {
	case m.NotFound:
		e.kind = ErrNotFound
	case m.NotExec:
		e.kind = ErrNotExecutable
	}
	return m, e
}

// Start lets the process execute its program and returns when it has done so,
// or with the reason why it could not.
func (p *Process) Start(ctx context.Context) error {
	chapter.Call(ctx, "the gap between create and start ends: the process goes on to execve", "write(%d, start, …)", p.conn.Fd())
	if err := p.out.Encode(message{Start: true}); err != nil {
		return fmt.Errorf("start process %d: %w", p.Pid, err)
	}
	// execve closes the process's end of the socket: the end of the stream is the good news.
	_, err := p.read()
	p.listener.Wait()
	if err != io.EOF {
		return err
	}
	if p.started == nil {
		return nil
	}
	if err := p.started(); err != nil {
		return errors.Join(err, p.Kill())
	}
	return nil
}

// Start lets the process that waits at the fifo execute its program, and
// returns when it has, or has failed to. It can be called by another process
// than the one that called [Create]. It returns [ErrNotWaiting] when nobody
// waits there.
func Start(ctx context.Context, fifo string) error {
	chapter.Call(ctx, "whoever reads the fifo is the process that waits to be started", "openat(AT_FDCWD, %q, O_WRONLY|O_NONBLOCK|O_CLOEXEC)", fifo)
	// O_NONBLOCK: a fifo without a reader answers ENXIO at once instead of waiting for one.
	fd, err := unix.Open(fifo, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENXIO || err == unix.ENOENT {
		return ErrNotWaiting
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: fifo, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte{'0'}); err != nil {
		return &os.PathError{Op: "write", Path: fifo, Err: err}
	}
	// execve closes the read end: the error is the news that the program runs.
	written := []unix.PollFd{{Fd: int32(fd)}}
	_, err = unix.Poll(written, -1)
	for err == unix.EINTR {
		_, err = unix.Poll(written, -1)
	}
	return os.NewSyscallError("poll", err)
}

// Wait waits for the end of the process, which must be a child of the caller's
// process, and returns how it ended.
func (p *Process) Wait() (*os.ProcessState, error) {
	state, err := p.proc.Wait()
	p.release()
	p.listener.Wait()
	return state, err
}

// Release forgets the process, which goes on.
func (p *Process) Release() error {
	p.release()
	return p.proc.Release()
}

func (p *Process) release() {
	select {
	case <-p.ended:
		return
	default:
	}
	close(p.ended)
	p.conn.Close()
}

// Signal sends a signal by pidfd_send_signal(2), so that it can never meet
// another process that got the same id.
func (p *Process) Signal(sig os.Signal) error { return p.proc.Signal(sig) }

// Kill sends SIGKILL: a whole PID namespace goes with its first process.
func (p *Process) Kill() error { return p.proc.Kill() }

// ExitStatus is the status with which a program that runs containers tells a
// shell why none ran: 127 for [ErrNotFound], 126 for [ErrNotExecutable], 125
// for any other failure.
func ExitStatus(err error) int {
	switch {
	case errors.Is(err, ErrNotFound):
		return 127
	case errors.Is(err, ErrNotExecutable):
		return 126
	}
	return 125
}
