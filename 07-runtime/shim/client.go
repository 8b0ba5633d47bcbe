//go:build linux

package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/explain"
)

// Client talks to one container's shim. It holds no connection open (but the
// one of Launch until Created), so it needs no Close and may be used by
// several goroutines.
type Client struct {
	dir     string
	exit    string
	created atomic.Pointer[net.UnixConn] // Launch's question, to which Created waits for the answer
}

// Dial returns the client of a shim that was launched earlier, perhaps by
// another process. The error's kind is errdefs.ErrUnavailable where none runs.
func Dial(dir string) (*Client, error) {
	b, err := os.ReadFile(filepath.Join(dir, ConfigFile))
	if err != nil {
		return nil, errGone(dir, err)
	}
	var conf Config
	if err := json.Unmarshal(b, &conf); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, ConfigFile), err)
	}
	c := &Client{dir: dir, exit: conf.Exit}
	conn, err := c.dial()
	if err != nil {
		return nil, err
	}
	conn.Close()
	return c, nil
}

// Created waits until the runtime has created the container, and returns the
// process id of its first process, or why it could not be created. Nothing is
// left then, and the shim has gone.
func (c *Client) Created(ctx context.Context) (int, error) {
	conn := c.created.Swap(nil)
	if conn == nil {
		var err error
		if conn, err = c.ask(ctx, Request{Op: OpCreated}, nil); err != nil {
			return 0, err
		}
	}
	defer conn.Close()
	r, err := c.answer(ctx, conn)
	if err != nil {
		return 0, err
	}
	if r.Status == nil {
		return 0, errGone(c.dir, errors.New("an answer without a process id"))
	}
	return r.Status.Pid, nil
}

// Start has the container's program executed.
func (c *Client) Start(ctx context.Context) error {
	_, err := c.call(ctx, Request{Op: OpStart})
	return err
}

// Wait waits for the container's end. When it returns, the runtime's state,
// the cgroup and the mounts are gone, the log is complete, and the exit file
// is written. The error's kind is errdefs.ErrUnavailable when the shim died
// without leaving one; the container's processes may still run then.
func (c *Client) Wait(ctx context.Context) (Exit, error) {
	r, err := c.call(ctx, Request{Op: OpWait})
	if err == nil && r.Exit != nil {
		return *r.Exit, nil
	}
	if errdefs.IsUnavailable(err) {
		// It may have gone because all was done.
		if e, readErr := ReadExit(c.exit); readErr == nil {
			return e, nil
		}
	}
	return Exit{}, err
}

// Status returns what the shim knows of the container now.
func (c *Client) Status(ctx context.Context) (Status, error) {
	r, err := c.call(ctx, Request{Op: OpStatus})
	if err != nil {
		return Status{}, err
	}
	if r.Status == nil {
		return Status{}, errGone(c.dir, errors.New("an answer without a status"))
	}
	return *r.Status, nil
}

// Signal sends a signal to the container's first process.
func (c *Client) Signal(ctx context.Context, sig unix.Signal) error {
	_, err := c.call(ctx, Request{Op: OpSignal, Signal: int(sig)})
	return err
}

// Resize sets the terminal's size in characters.
func (c *Client) Resize(ctx context.Context, height, width uint16) error {
	_, err := c.call(ctx, Request{Op: OpResize, Height: height, Width: width})
	return err
}

// CloseStdin ends the container's standard input.
func (c *Client) CloseStdin(ctx context.Context) error {
	_, err := c.call(ctx, Request{Op: OpCloseStdin})
	return err
}

// Exec runs a further process in the container, and returns its process id and,
// where attach is not nil, a connection to its streams as [Client.Attach] does.
// The id is the caller's to choose, and no other process of the container may
// have it; [Client.WaitExec] asks for the end by it.
func (c *Client) Exec(ctx context.Context, id string, process *specs.Process, attach *AttachOptions) (pid int, conn *net.UnixConn, err error) {
	file := filepath.Join(c.dir, ExecFile(id))
	if err := writeJSON(file, process); err != nil {
		return 0, nil, err
	}
	defer os.Remove(file)
	narration, told, err := explain.Pipe(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer told.Wait()
	if narration != nil {
		defer narration.Close()
	}
	conn, err = c.ask(ctx, Request{Op: OpExec, Exec: id, Terminal: process.Terminal, Attach: attach}, narration)
	if err != nil {
		return 0, nil, err
	}
	r, err := c.answer(ctx, conn)
	if err == nil && r.Status == nil {
		err = errGone(c.dir, errors.New("an answer without a process id"))
	}
	if err != nil || attach == nil {
		conn.Close()
		conn = nil
	}
	if err != nil {
		return 0, nil, err
	}
	return r.Status.Pid, conn, nil
}

// WaitExec waits for the end of a further process and of its output. It can be
// asked once.
func (c *Client) WaitExec(ctx context.Context, id string) (Exit, error) {
	r, err := c.call(ctx, Request{Op: OpWait, Exec: id})
	if err != nil {
		return Exit{}, err
	}
	if r.Exit == nil {
		return Exit{}, errGone(c.dir, errors.New("an answer without an exit status"))
	}
	return *r.Exit, nil
}

// ResizeExec sets the size of a further process's terminal in characters.
func (c *Client) ResizeExec(ctx context.Context, id string, height, width uint16) error {
	_, err := c.call(ctx, Request{Op: OpResize, Exec: id, Height: height, Width: width})
	return err
}

// Attach connects to the container's streams. When it returns, every byte
// that the container writes from now on will be on the connection, up to its
// end: raw with a terminal, else in frames of an 8-byte header (stream 1 or 2,
// three zeros, the length in four bytes, big-endian) and the bytes. What is
// written to the connection goes to the standard input; CloseWrite ends that
// half.
//
// A client that does not read holds nobody up: up to 1 MiB waits for it in the
// shim's memory, what exceeds that in an unnamed file beside the log.
func (c *Client) Attach(ctx context.Context, opt AttachOptions) (*net.UnixConn, error) {
	conn, err := c.ask(ctx, Request{Op: OpAttach, Attach: &opt}, nil)
	if err != nil {
		return nil, err
	}
	if _, err := c.answer(ctx, conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// call asks and waits for the answer.
func (c *Client) call(ctx context.Context, q Request) (Response, error) {
	conn, err := c.ask(ctx, q, nil)
	if err != nil {
		return Response{}, err
	}
	defer conn.Close()
	return c.answer(ctx, conn)
}

func (c *Client) dial() (conn *net.UnixConn, err error) {
	err = atSocket(c.dir, func(path string) error {
		conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, errGone(c.dir, err)
	}
	return conn, nil
}

// ask opens a connection and sends the question, and with it where it is to be
// narrated if that is not nil.
func (c *Client) ask(ctx context.Context, q Request, narration *os.File) (*net.UnixConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, err := c.dial()
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	var rights []byte
	if narration != nil {
		rights = unix.UnixRights(int(narration.Fd()))
	}
	if _, _, err := conn.WriteMsgUnix(append(line, '\n'), rights, nil); err != nil {
		conn.Close()
		return nil, errGone(c.dir, err)
	}
	return conn, nil
}

// answer reads one line, and not a byte of what follows it.
func (c *Client) answer(ctx context.Context, conn *net.UnixConn) (Response, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := io.ReadFull(conn, b); err != nil {
			if ctx.Err() != nil {
				return Response{}, context.Cause(ctx)
			}
			return Response{}, errGone(c.dir, err)
		}
		if b[0] == '\n' {
			break
		}
		line = append(line, b[0])
	}
	var r Response
	if err := json.Unmarshal(line, &r); err != nil {
		return Response{}, errGone(c.dir, fmt.Errorf("its answer %q: %w", line, err))
	}
	return r, r.Err()
}
