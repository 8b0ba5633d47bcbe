//go:build linux

package engine

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"drydock.example/07-runtime/shim"
)

// AttachOptions choose the streams of [Engine.ContainerAttach].
type AttachOptions struct {
	Stdin, Stdout, Stderr bool
	Stream                bool   // go on with what comes; without it only Logs
	Logs                  bool   // first what the log has
	DetachKeys            string // as in "ctrl-p,ctrl-q", which is the default
}

// ContainerAttach returns a connection to the container's streams: what is read from it is its
// output, framed as Docker's (8 bytes of header before each piece) unless the container has a
// terminal; what is written goes to its standard input, which CloseWrite ends. A container that
// does not run may be attached to: the connection is silent until it is started, and then has
// every byte from the first on. It ends when the container does, or when it is removed.
func (e *Engine) ContainerAttach(ctx context.Context, id string, opt AttachOptions) (net.Conn, error) {
	c, err := e.find(id)
	if err != nil {
		return nil, err
	}
	rec, _, removing := c.snapshot()
	if removing {
		return nil, conflict("container %s is marked for removal and cannot be attached to", id)
	}
	keys, err := parseDetachKeys(opt.DetachKeys)
	if err != nil {
		return nil, err
	}

	var conn net.Conn = endedConn{}
	if opt.Stream {
		live := shim.AttachOptions{
			Stdin: opt.Stdin && rec.Config.OpenStdin, Stdout: opt.Stdout, Stderr: opt.Stderr,
			CloseStdin: rec.Config.StdinOnce,
		}
		if conn, err = c.attach(ctx, live); err != nil {
			return nil, err
		}
	}
	if opt.Logs {
		past, err := openLog(c.dir(logFile), LogOptions{Stdout: opt.Stdout, Stderr: opt.Stderr, Tail: -1}, rec.Config.Tty)
		if err != nil {
			conn.Close()
			return nil, err
		}
		conn = &logsFirst{Conn: conn, past: past}
	}
	if rec.Config.Tty && opt.Stdin {
		conn = &detachable{Conn: conn, keys: keys}
	}
	return conn, nil
}

// attach connects to the running container, or waits for the next start.
func (c *Container) attach(ctx context.Context, opt shim.AttachOptions) (net.Conn, error) {
	c.mu.Lock()
	run := c.run
	if run == nil {
		defer c.mu.Unlock()
		if c.gone || c.engine.ctx.Err() != nil {
			return endedConn{}, nil
		}
		p := &pendingConn{opt: opt, ready: make(chan struct{})}
		p.forget = func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.attached, p)
		}
		c.attached[p] = struct{}{}
		return p, nil
	}
	c.mu.Unlock()
	return run.shim.Attach(ctx, opt)
}

// connectAttached gives the connections that wait for this start their streams. It is called
// before the program may run, so that they miss nothing.
func (c *Container) connectAttached(ctx context.Context, client *shim.Client) error {
	for _, p := range c.takeAttached() {
		conn, err := client.Attach(ctx, p.opt)
		if err != nil {
			p.resolve(endedConn{})
			return err
		}
		p.resolve(conn)
	}
	return nil
}

// endAttached ends the connections that wait for a start which will not come.
func (c *Container) endAttached() {
	for _, p := range c.takeAttached() {
		p.resolve(endedConn{})
	}
}

func (c *Container) takeAttached() []*pendingConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*pendingConn
	for p := range c.attached {
		all = append(all, p)
		delete(c.attached, p)
	}
	return all
}

// pendingConn is a connection to a container that has not been started. Its calls wait until
// resolve gives it the real one.
type pendingConn struct {
	opt    shim.AttachOptions
	forget func()
	ready  chan struct{}

	mu   sync.Mutex
	conn net.Conn // set before ready is closed
}

// resolve makes conn what p stands for.
func (p *pendingConn) resolve(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		conn.Close() // p was closed in the meantime
		return
	}
	p.conn = conn
	close(p.ready)
}

func (p *pendingConn) wait() net.Conn {
	<-p.ready
	return p.conn
}

func (p *pendingConn) Read(b []byte) (int, error)  { return p.wait().Read(b) }
func (p *pendingConn) Write(b []byte) (int, error) { return p.wait().Write(b) }
func (p *pendingConn) CloseWrite() error           { return closeWrite(p.wait()) }

func (p *pendingConn) Close() error {
	p.forget()
	p.resolve(endedConn{})
	return p.conn.Close()
}

func (p *pendingConn) LocalAddr() net.Addr                { return attachAddr{} }
func (p *pendingConn) RemoteAddr() net.Addr               { return attachAddr{} }
func (p *pendingConn) SetDeadline(t time.Time) error      { return p.wait().SetDeadline(t) }
func (p *pendingConn) SetReadDeadline(t time.Time) error  { return p.wait().SetReadDeadline(t) }
func (p *pendingConn) SetWriteDeadline(t time.Time) error { return p.wait().SetWriteDeadline(t) }

// endedConn is a connection whose other side has nothing more to say.
type endedConn struct{}

func (endedConn) Read([]byte) (int, error)         { return 0, io.EOF }
func (endedConn) Write([]byte) (int, error)        { return 0, io.ErrClosedPipe }
func (endedConn) Close() error                     { return nil }
func (endedConn) CloseWrite() error                { return nil }
func (endedConn) LocalAddr() net.Addr              { return attachAddr{} }
func (endedConn) RemoteAddr() net.Addr             { return attachAddr{} }
func (endedConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (endedConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (endedConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

type attachAddr struct{}

func (attachAddr) Network() string { return "attach" }
func (attachAddr) String() string  { return "container" }

// closeWrite ends the sending half of a connection.
func closeWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// logsFirst reads what the log has before what comes.
type logsFirst struct {
	net.Conn
	past *logReader
	over bool   // past has been read to its end
	rest []byte // of an entry that was read in part
}

func (l *logsFirst) Read(b []byte) (int, error) {
	for len(l.rest) == 0 && !l.over {
		var err error
		l.rest, err = l.past.next()
		if l.over = err == io.EOF; err != nil && !l.over {
			return 0, err
		}
	}
	if len(l.rest) > 0 {
		n := copy(b, l.rest)
		l.rest = l.rest[n:]
		return n, nil
	}
	return l.Conn.Read(b)
}

func (l *logsFirst) CloseWrite() error { return closeWrite(l.Conn) }

func (l *logsFirst) Close() error {
	l.past.Close() // opened for reading: there is nothing to lose
	return l.Conn.Close()
}
