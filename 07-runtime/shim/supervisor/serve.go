//go:build linux

package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/explain"
	"drydock.example/07-runtime/shim"
)

// serve answers requests, from conn first, until the listener's deadline, and
// returns when the last answer is given.
func (s *supervisor) serve(ctx context.Context, l *net.UnixListener, conn *net.UnixConn) {
	var requests sync.WaitGroup
	for err := error(nil); err == nil; conn, err = l.AcceptUnix() {
		conn := conn // the loop's own variable changes before the request is answered
		requests.Go(func() {
			defer conn.Close()
			s.answer(ctx, conn)
		})
	}
	l.Close()
	requests.Wait()
}

// answer reads one request and answers it.
func (s *supervisor) answer(ctx context.Context, conn *net.UnixConn) {
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	asked := &question{UnixConn: conn}
	defer asked.end()
	in := bufio.NewReaderSize(asked, 1<<10)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return
	}
	conn.SetReadDeadline(time.Time{})
	var q shim.Request
	if err := json.Unmarshal(line, &q); err != nil {
		reply(conn, shim.Fail(fmt.Errorf("the request %q: %w: %w", line, err, errdefs.ErrInvalidArgument)))
		return
	}
	switch {
	case q.Op == shim.OpAttach && q.Attach != nil:
		s.attach(conn, in, *q.Attach)
		return
	case q.Op == shim.OpExec:
		if asked.narration != nil {
			ctx = explain.To(ctx, asked.narration)
		}
		s.exec(ctx, asked, in, q)
		return
	}
	if r, err := s.do(ctx, q, conn); err != nil {
		reply(conn, shim.Fail(err))
	} else {
		reply(conn, r)
	}
}

// question is a connection that keeps the descriptor which came with its first bytes.
type question struct {
	*net.UnixConn
	begun     bool
	narration *os.File
}

func (q *question) Read(b []byte) (int, error) {
	if q.begun {
		return q.UnixConn.Read(b)
	}
	q.begun = true
	rights := make([]byte, unix.CmsgSpace(4))
	n, rn, _, _, err := q.ReadMsgUnix(b, rights)
	if err != nil || rn == 0 {
		return n, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:rn])
	if err != nil || len(messages) != 1 {
		return n, err
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return n, err
	}
	unix.CloseOnExec(fds[0])
	q.narration = os.NewFile(uintptr(fds[0]), "narration")
	return n, nil
}

// end closes the descriptor: whoever listens waits for that.
func (q *question) end() {
	if q.narration != nil {
		q.narration.Close()
	}
}

func reply(conn net.Conn, r shim.Response) error {
	return json.NewEncoder(conn).Encode(r)
}

// do carries out every request whose connection does not become a stream.
func (s *supervisor) do(ctx context.Context, q shim.Request, conn *net.UnixConn) (shim.Response, error) {
	if q.Op != shim.OpStatus {
		<-s.created
		if s.failed != nil {
			return shim.Response{}, s.failed
		}
	}
	switch q.Op {
	case shim.OpCreated, shim.OpStatus:
		s.mu.Lock()
		defer s.mu.Unlock()
		status := s.status
		return shim.Response{Status: &status}, nil
	case shim.OpStart:
		return shim.Response{}, s.start(ctx)
	case shim.OpWait:
		gone, exit := s.gone, &s.exit
		if q.Exec != "" {
			p, err := s.further(q.Exec)
			if err != nil {
				return shim.Response{}, err
			}
			gone, exit = p.ended, &p.exit
		}
		select {
		case <-gone:
		case <-ended(conn): // nobody waits any more
		}
		select {
		case <-gone:
			s.forget(q.Exec)
			return shim.Response{Exit: exit}, nil
		default:
			return shim.Response{}, context.Canceled
		}
	case shim.OpSignal:
		return shim.Response{}, s.signal(ctx, q.Signal)
	case shim.OpResize:
		if q.Exec == "" {
			return shim.Response{}, s.streams.resize(q.Height, q.Width)
		}
		p, err := s.further(q.Exec)
		if err != nil {
			return shim.Response{}, err
		}
		return shim.Response{}, p.streams.resize(q.Height, q.Width)
	case shim.OpCloseStdin:
		s.streams.closeStdin()
		return shim.Response{}, nil
	}
	return shim.Response{}, fmt.Errorf("operation %q is not known: %w", q.Op, errdefs.ErrInvalidArgument)
}

// ended returns a channel that is closed when the client closes its end.
func ended(conn net.Conn) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		defer close(c)
		conn.Read(make([]byte, 1))
	}()
	return c
}

// start has the runtime start the container.
func (s *supervisor) start(ctx context.Context) error {
	s.starting.Lock()
	defer s.starting.Unlock()
	if err := s.running(); err != nil {
		return err
	}
	if err := s.runtime(ctx, "the runtime lets the waiting process execute its program", nil, "start", s.conf.ID); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Started, s.status.StartedAt = true, time.Now().UTC()
	return nil
}

// running is nil as long as the first process exists.
func (s *supervisor) running() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pidfd < 0 {
		return fmt.Errorf("the container has ended: %w", errdefs.ErrFailedPrecondition)
	}
	return nil
}

func (s *supervisor) signal(ctx context.Context, signal int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pidfd < 0 {
		return fmt.Errorf("the container has ended: %w", errdefs.ErrFailedPrecondition)
	}
	chapter.Call(ctx, "by descriptor, so that it cannot meet a stranger who got the same process id", "pidfd_send_signal(%d, %s, NULL, 0)", s.pidfd, unix.SignalName(unix.Signal(signal)))
	if err := unix.PidfdSendSignal(s.pidfd, unix.Signal(signal), nil, 0); err != nil {
		return fmt.Errorf("send signal %d to process %d: %w", signal, s.status.Pid, err)
	}
	return nil
}

// attach makes the connection the container's stream.
func (s *supervisor) attach(conn *net.UnixConn, in *bufio.Reader, opt shim.AttachOptions) {
	q := newQueue(conn, opt, s.conf)
	if err := s.streams.attach(q); err != nil {
		reply(conn, shim.Fail(err))
		return
	}
	defer q.free()
	defer s.streams.detach(q)
	if reply(conn, shim.Response{}) == nil {
		s.carry(q, s.streams, in)
	}
}

// carry passes on bytes between a client and a process, until the output's end
// or the client's.
func (s *supervisor) carry(q *queue, streams *streams, in *bufio.Reader) {
	received := make(chan struct{})
	go func() {
		defer close(received)
		s.receive(q, streams, in)
	}()
	q.send()
	// Closing a socket that holds unread input would make the client's last read
	// an error: it is read until the client has seen the end and closes.
	q.conn.CloseWrite()
	q.conn.SetReadDeadline(time.Now().Add(time.Second))
	<-received
}

// receive passes on what a client sends, and ends when the client has gone.
func (s *supervisor) receive(q *queue, streams *streams, in *bufio.Reader) {
	<-s.created
	if stdin := streams.stdin(); q.opt.Stdin && stdin != nil {
		// The struct hides os.File's ReadFrom, whose splice(2) would wait for
		// the container in the kernel, where closing the pipe does not end it.
		io.Copy(struct{ io.Writer }{stdin}, in)
		if q.opt.CloseStdin {
			streams.closeStdin()
		}
	}
	io.Copy(io.Discard, in)
	if hungUp(q.conn) {
		q.mu.Lock()
		q.drop()
		q.mu.Unlock()
	}
}

// hungUp waits until both directions of the connection are closed, or for its
// read deadline. The end of what a client sends does not say which: a client
// may close that half and go on to read.
func hungUp(conn *net.UnixConn) bool {
	c, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	var gone bool
	err = c.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd)}}
		unix.Poll(p, 0)
		gone = p[0].Revents&unix.POLLHUP != 0
		return gone
	})
	return gone || err != nil && !os.IsTimeout(err)
}
