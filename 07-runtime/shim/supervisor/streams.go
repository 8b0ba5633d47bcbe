//go:build linux

package supervisor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"drydock.example/07-runtime/shim"
)

// drainTime is how long output is waited for after the first process's end.
const drainTime = 10 * time.Second

// The numbers of the streams in the frames that Docker's clients read.
const (
	stdout = 1
	stderr = 2
)

// streams are the shim's ends of a process's standard streams.
type streams struct {
	terminal, wantsStdin bool
	console              string // the socket on which the terminal's master comes

	log     *logFile
	copying sync.WaitGroup

	mu      sync.Mutex
	in      *os.File        // the pipe's write end, or the terminal's master
	out     []*os.File      // read ends, or the terminal's master
	clients map[*queue]bool // the attached ones
	closed  bool
}

func newStreams(conf shim.Config, console string) (*streams, error) {
	s := &streams{terminal: conf.Terminal, wantsStdin: conf.Stdin, console: console, clients: map[*queue]bool{}}
	var err error
	s.log, err = openLog(conf.Log)
	return s, err
}

// open returns what the runtime's command is given as its standard streams, or,
// for a terminal, the socket that will receive the terminal's master.
func (s *streams) open() (stdio []*os.File, console *net.UnixListener, err error) {
	if s.terminal {
		console, err = net.ListenUnix("unix", &net.UnixAddr{Name: s.console, Net: "unix"})
		return nil, console, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var theirs [3]*os.File
	defer func() {
		if err != nil {
			for _, f := range theirs {
				f.Close()
			}
		}
	}()
	if s.wantsStdin {
		theirs[0], s.in, err = os.Pipe()
	} else {
		theirs[0], err = os.Open(os.DevNull)
	}
	if err != nil {
		return nil, nil, err
	}
	s.out = make([]*os.File, 2)
	for i := range s.out {
		if s.out[i], theirs[i+1], err = os.Pipe(); err != nil {
			return nil, nil, err
		}
	}
	return theirs[:], nil, nil
}

// begin starts to copy the output.
func (s *streams) begin(console *net.UnixListener) error {
	if s.terminal {
		master, err := receiveTerminal(console)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.in, s.out = master, []*os.File{master}
		s.mu.Unlock()
	}
	for i, f := range s.out {
		s.copying.Add(1)
		go func() {
			defer s.copying.Done()
			s.copy(f, byte(stdout+i))
		}()
	}
	return nil
}

// receiveTerminal takes the master from the socket to which the runtime's
// command, which has ended, sent it.
func receiveTerminal(console *net.UnixListener) (*os.File, error) {
	console.SetDeadline(time.Now().Add(time.Second))
	conn, err := console.AcceptUnix()
	if err != nil {
		return nil, fmt.Errorf("the runtime sent no terminal to --console-socket: %w", err)
	}
	defer conn.Close()
	name, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(name, rights)
	if err != nil {
		return nil, fmt.Errorf("receive the terminal: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err == nil && len(messages) != 1 {
		err = errors.New("no descriptor came along")
	}
	if err != nil {
		return nil, fmt.Errorf("receive the terminal: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, fmt.Errorf("receive the terminal: %w", err)
	}
	unix.CloseOnExec(fds[0])
	// Without O_NONBLOCK a read of it would hold a thread, and Close would not end it.
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, os.NewSyscallError("fcntl(O_NONBLOCK)", err)
	}
	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}

// copy reads a stream to its end. The end of a terminal is the error EIO.
func (s *streams) copy(f *os.File, stream byte) {
	defer s.log.flush(stream)
	buf := make([]byte, 32<<10)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			s.log.write(stream, buf[:n])
			s.publish(stream, buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// publish gives a piece of output to every attached client that wants it.
func (s *streams) publish(stream byte, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for q := range s.clients {
		if q.wants(stream) {
			q.write(stream, b)
		}
	}
}

// attach registers a client; its queue holds all output from now on.
func (s *streams) attach(q *queue) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("the container has ended: %w", errdefs.ErrFailedPrecondition)
	}
	s.clients[q] = true
	return nil
}

// detach is attach's undo.
func (s *streams) detach(q *queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, q)
}

// stdin returns the container's standard input, or nil.
func (s *streams) stdin() *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.wantsStdin {
		return nil
	}
	return s.in
}

// closeStdin ends the standard input. On a terminal that is a character that
// the user types, not a state.
func (s *streams) closeStdin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in != nil && !s.terminal {
		s.in.Close()
		s.in = nil
	}
}

// resize sets the terminal's size.
func (s *streams) resize(height, width uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.terminal || s.in == nil {
		return fmt.Errorf("the container has no terminal: %w", errdefs.ErrFailedPrecondition)
	}
	err := ioctlTerminalSize(s.in, height, width)
	if err != nil {
		return os.NewSyscallError("ioctl(TIOCSWINSZ)", err)
	}
	return nil
}

func ioctlTerminalSize(f *os.File, height, width uint16) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := c.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width})
	})
	return errors.Join(controlErr, err)
}

// drain waits for the end of the output, but no longer than d: it may be held
// open by a process that outlived the container.
func (s *streams) drain(d time.Duration) {
	end := time.AfterFunc(d, func() {
		for _, f := range s.out {
			f.Close()
		}
	})
	defer end.Stop()
	s.copying.Wait()
}

// close ends the streams of attached clients and the log.
func (s *streams) close() {
	s.mu.Lock()
	s.closed = true
	for q := range s.clients {
		q.close()
	}
	in := s.in
	s.in = nil
	s.mu.Unlock()
	if in != nil {
		in.Close()
	}
	for _, f := range s.out {
		if f != nil {
			f.Close()
		}
	}
	s.log.close()
}
