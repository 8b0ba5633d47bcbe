//go:build linux

package oci

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A terminal connects a container's terminal with the caller's own streams.
type terminal struct {
	socket *os.File // where the container's init sends the master
	master *os.File
	before *unix.Termios // what the caller's terminal was set to; nil where it has none
	shown  chan struct{} // closed when the output has ended
}

// newTerminal returns a terminal to come, and the socket to send it to.
func newTerminal() (*terminal, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return &terminal{socket: os.NewFile(uintptr(pair[0]), "console")}, os.NewFile(uintptr(pair[1]), "console"), nil
}

// connectTerminal returns the socket that the terminal is sent to, where one is
// wanted: the caller's, or in the foreground that of a relay to the caller's
// own terminal.
func connectTerminal(wanted, detach bool, path string) (relay *terminal, socket *os.File, err error) {
	switch {
	case detach || path != "":
		socket, err = openConsoleSocket(path, wanted && detach)
	case wanted:
		relay, socket, err = newTerminal()
	}
	return relay, socket, err
}

// begin takes the master, which the container's init has sent, and copies
// between it and the caller's streams.
func (t *terminal) begin() error {
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(t.socket.Fd()), make([]byte, 256), rights, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return fmt.Errorf("receive the terminal: %w", os.NewSyscallError("recvmsg", err))
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return errors.Join(errors.New("receive the terminal: no descriptor came along"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return fmt.Errorf("receive the terminal: %w", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return os.NewSyscallError("fcntl(O_NONBLOCK)", err)
	}
	t.master = os.NewFile(uintptr(fds[0]), "terminal")
	if t.before, err = unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		// What is typed belongs to the container's terminal: ctrl-c is its signal, the echo is its own.
		raw := *t.before
		raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
		raw.Oflag &^= unix.OPOST
		raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
		raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
		if err := unix.IoctlSetTermios(0, unix.TCSETS, &raw); err != nil {
			return os.NewSyscallError("ioctl(TCSETS)", err)
		}
	}
	t.resize()
	t.shown = make(chan struct{})
	go func() {
		defer close(t.shown)
		io.Copy(os.Stdout, struct{ io.Reader }{t.master}) // until EIO: nobody holds the other side
	}()
	// Reading the caller's input cannot be interrupted; it ends with the program.
	go io.Copy(struct{ io.Writer }{t.master}, os.Stdin)
	return nil
}

// resize gives the container's terminal the size of the caller's.
func (t *terminal) resize() {
	size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil {
		return
	}
	if c, err := t.master.SyscallConn(); err == nil {
		c.Control(func(fd uintptr) { unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) })
	}
}

// end waits for the last output and gives the caller's terminal back.
func (t *terminal) end() {
	if t == nil {
		return
	}
	if t.shown != nil {
		<-t.shown
	}
	if t.before != nil {
		unix.IoctlSetTermios(0, unix.TCSETS, t.before)
	}
	if t.master != nil {
		t.master.Close()
	}
	t.socket.Close()
}
