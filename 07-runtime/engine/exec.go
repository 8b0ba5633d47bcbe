//go:build linux

package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"

	images "drydock.example/06-images"
	"drydock.example/07-runtime/shim"
)

// ExecCreate prepares a further process of a running container and returns its ID. Errors:
// InvalidArgument for what makes no sense, NotFound for the container, Conflict when it does not run.
func (e *Engine) ExecCreate(ctx context.Context, id string, opt container.ExecCreateRequest) (string, error) {
	switch {
	case len(opt.Cmd) == 0 || opt.Cmd[0] == "":
		return "", invalid("No exec command specified")
	case opt.Privileged:
		return "", invalid("Privileged is not supported by this engine")
	case opt.WorkingDir != "" && !path.IsAbs(opt.WorkingDir):
		return "", invalid("the working directory '%s' is invalid, it needs to be an absolute path", opt.WorkingDir)
	}
	keys, err := parseDetachKeys(opt.DetachKeys)
	if err != nil {
		return "", err
	}
	c, err := e.find(id)
	if err != nil {
		return "", err
	}
	r := c.running()
	if r == nil {
		return "", conflict("container %s is not running", c.id)
	}
	x := &execution{id: newID(), container: c, run: r, options: opt, keys: keys, ended: make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, old := range e.execs {
		if old.over() {
			delete(e.execs, id)
		}
	}
	e.execs[x.id] = x
	return x.id, nil
}

// ExecStart runs the process. Unless it is detached, the connection is that of its streams, as of
// [Engine.ContainerAttach]; a program that cannot be executed has its reason as its output, and
// the exit code that a shell would give. Errors: NotFound for the exec, Conflict when it was
// started before or when the container has ended.
func (e *Engine) ExecStart(ctx context.Context, id string, opt container.ExecStartRequest) (net.Conn, error) {
	x, err := e.execution(id)
	if err != nil {
		return nil, err
	}
	if err := x.begin(); err != nil {
		return nil, err
	}
	pid, streams, err := x.launch(ctx, opt)
	if err != nil {
		x.end(exitCodeOf(err))
		if isEnding(err) || x.container.running() != x.run {
			return nil, conflict("container %s is not running", x.container.id)
		}
		if opt.Detach {
			return nil, invalid("%w", err)
		}
		return saying(err, x.options.Tty), nil
	}
	x.runs(pid)
	e.goroutines.Go(func() {
		defer close(x.ended)
		exit, err := x.run.shim.WaitExec(e.ctx, x.id)
		if e.ctx.Err() != nil {
			return
		}
		if err != nil {
			exit.Code = 137 // it ended with the container
		}
		x.end(exit.Code)
	})
	if opt.Detach {
		return nil, nil
	}
	var conn net.Conn = &execConn{streams, x.ended}
	if x.options.Tty && x.options.AttachStdin {
		conn = &detachable{Conn: conn, keys: x.keys}
	}
	return conn, nil
}

// launch has the shim run the process. A detached one has no connection.
func (x *execution) launch(ctx context.Context, opt container.ExecStartRequest) (pid int, streams *net.UnixConn, err error) {
	process, err := x.process(opt.ConsoleSize)
	if err != nil {
		return 0, nil, err
	}
	if opt.Detach {
		return x.run.shim.Exec(ctx, x.id, process, nil)
	}
	return x.run.shim.Exec(ctx, x.id, process, &shim.AttachOptions{
		Stdin: x.options.AttachStdin, Stdout: x.options.AttachStdout, Stderr: x.options.AttachStderr, CloseStdin: true,
	})
}

// process is what the container's first process is, but for what the exec asks for.
func (x *execution) process(size *[2]uint) (*specs.Process, error) {
	b, err := os.ReadFile(x.container.bundle("config.json"))
	if err != nil {
		return nil, err
	}
	var spec specs.Spec
	if err := json.Unmarshal(b, &spec); err != nil {
		return nil, fmt.Errorf("%s: %w", x.container.bundle("config.json"), err)
	}
	rec, _, _ := x.container.snapshot()
	lower, err := x.container.engine.images.Lower(images.Image{ID: rec.Image, DiffIDs: rec.Layers})
	if err != nil {
		return nil, err
	}
	config := *rec.Config
	if x.options.User != "" {
		config.User = x.options.User
	}
	config.Tty = x.options.Tty
	config.Env = slices.Concat(config.Env, x.options.Env)

	p := spec.Process
	var home string
	if p.User, home, err = lookUpUser(append([]string{x.container.dir("upper")}, lower...), config.User); err != nil {
		return nil, err
	}
	grant(p.Capabilities, p.User)
	p.Args, p.Env = x.options.Cmd, environment(&config, home)
	if x.options.WorkingDir != "" {
		p.Cwd = path.Clean(x.options.WorkingDir)
	}
	p.Terminal, p.ConsoleSize = x.options.Tty, nil
	if size == nil {
		size = x.options.ConsoleSize
	}
	if p.Terminal && size != nil {
		p.ConsoleSize = &specs.Box{Height: size[0], Width: size[1]}
	}
	return p, nil
}

// ExecResize sets the size of the process's terminal, in characters.
func (e *Engine) ExecResize(ctx context.Context, id string, height, width uint) error {
	x, err := e.execution(id)
	if err != nil {
		return err
	}
	if err := checkTerminalSize(height, width); err != nil {
		return err
	}
	return x.run.shim.ResizeExec(ctx, x.id, uint16(height), uint16(width))
}

// ExecInspect returns what is known of an exec.
func (e *Engine) ExecInspect(_ context.Context, id string) (container.ExecInspectResponse, error) {
	x, err := e.execution(id)
	if err != nil {
		return container.ExecInspectResponse{}, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	opt := x.options
	return container.ExecInspectResponse{
		ID: x.id, ContainerID: x.container.id,
		Running: x.pid != 0, Pid: x.pid, ExitCode: x.exitCode, CanRemove: x.exitCode != nil,
		ProcessConfig: &container.ExecProcessConfig{
			Tty: opt.Tty, Entrypoint: opt.Cmd[0], Arguments: opt.Cmd[1:], Privileged: &opt.Privileged, User: opt.User,
		},
		OpenStdin: opt.AttachStdin, OpenStdout: opt.AttachStdout, OpenStderr: opt.AttachStderr,
		DetachKeys: x.keys,
	}, nil
}

// execConn ends when the exit code is known, so that who asks for it then gets it.
type execConn struct {
	net.Conn
	ended <-chan struct{}
}

func (c *execConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == io.EOF {
		<-c.ended
	}
	return n, err
}

func (c *execConn) CloseWrite() error { return closeWrite(c.Conn) }

// saidConn is a stream on which one thing is said, and then ends.
type saidConn struct {
	endedConn
	*bytes.Reader
}

func (s saidConn) Read(b []byte) (int, error)  { return s.Reader.Read(b) }
func (s saidConn) Write(b []byte) (int, error) { return s.endedConn.Write(b) }

// saying is the stream of a program that could not be executed, with Docker's end of line.
func saying(err error, tty bool) net.Conn {
	text := strings.TrimSuffix(err.Error(), "\n") + "\r\n"
	if !tty {
		header := [8]byte{0: byte(stdcopy.Stdout)}
		binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
		text = string(header[:]) + text
	}
	return saidConn{Reader: bytes.NewReader([]byte(text))}
}
