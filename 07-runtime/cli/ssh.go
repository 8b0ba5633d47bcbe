package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// sshHost is a daemon at the other end of ssh(1), which knows the user's keys,
// agents and known hosts:
//
//	ssh://[USER@]HOST[:PORT][/PATH/OF/THE/DAEMON'S/SOCKET]
type sshHost struct {
	user, name, port string
	socket           string // "": the default one, there
	config           string // a configuration file in place of the user's own
}

// parseSSH reads a host that begins with ssh://.
func parseSSH(host string) (*sshHost, error) {
	refuse := func(why string) (*sshHost, error) {
		return nil, fmt.Errorf("daemon socket %q: %s; want ssh://[USER@]HOST[:PORT][/SOCKET]", host, why)
	}
	u, err := url.Parse(host)
	if err != nil {
		return refuse(errors.Unwrap(err).Error())
	}
	h := &sshHost{user: u.User.Username(), name: u.Hostname(), port: u.Port(), socket: strings.TrimSuffix(u.Path, "/")}
	if _, has := u.User.Password(); has {
		return refuse("a password does not belong on a command line: ssh asks for it, or use a key")
	}
	switch {
	case h.name == "":
		return refuse("the host's name is missing")
	case strings.HasPrefix(h.name, "-"), strings.HasPrefix(h.user, "-"):
		return refuse("ssh would take a name that begins with - as an option")
	case u.RawQuery != "" || u.Fragment != "":
		return refuse("nothing can follow the path")
	}
	return h, nil
}

// command is the one that carries one connection to the daemon.
func (h *sshHost) command() *exec.Cmd {
	args := []string{"-T"}
	if h.config != "" {
		args = append(args, "-F", h.config)
	}
	if h.user != "" {
		args = append(args, "-l", h.user)
	}
	if h.port != "" {
		args = append(args, "-p", h.port)
	}
	args = append(args, "--", h.name, "drydock")
	if h.socket != "" {
		args = append(args, "-H", "'unix://"+strings.ReplaceAll(h.socket, "'", `'\''`)+"'") // the other side's shell reads it
	}
	return exec.Command("ssh", append(args, "system", "dial-stdio")...)
}

// dial starts a connection. That the daemon does not answer is known when it
// is read from.
func (h *sshHost) dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := &sshConn{command: h.command()}
	// Ctrl-C is for the container, which is reached through this connection.
	c.command.SysProcAttr = ownSession()
	c.command.Stderr = &c.said
	var err error
	if c.WriteCloser, err = c.command.StdinPipe(); err != nil {
		return nil, err
	}
	if c.out, err = c.command.StdoutPipe(); err != nil {
		return nil, err
	}
	chapter.Call(ctx, "reach the daemon through ssh", "execve(%q, %q)", c.command.Path, c.command.Args)
	if err := c.command.Start(); err != nil {
		return nil, &sshError{fmt.Errorf("start ssh: %w", err)}
	}
	return c, nil
}

// sshConn is a connection whose two directions are a program's output and input.
type sshConn struct {
	io.WriteCloser
	out     io.ReadCloser
	command *exec.Cmd
	said    bytes.Buffer // what ssh and the other side say on stderr; whole when the command has ended
	heard   bool
	end     sync.Once
}

// sshError is the reason why there is no way to the daemon.
type sshError struct{ err error }

func (e *sshError) Error() string { return e.err.Error() }
func (e *sshError) Unwrap() error { return e.err }

// Read returns what the daemon says, and what ssh said where the daemon says nothing.
func (c *sshConn) Read(p []byte) (int, error) {
	n, err := c.out.Read(p)
	c.heard = c.heard || n > 0
	if !errors.Is(err, io.EOF) || c.heard {
		return n, err
	}
	c.end.Do(func() { c.command.Wait() })
	why := strings.TrimSpace(c.said.String())
	if why == "" {
		return 0, io.EOF
	}
	return 0, &sshError{fmt.Errorf("%s: %s", strings.Join(c.command.Args, " "), why)}
}

// CloseWrite ends what the daemon reads, as on a socket.
func (c *sshConn) CloseWrite() error { return c.WriteCloser.Close() }

func (c *sshConn) Close() error {
	c.WriteCloser.Close()
	c.end.Do(func() {
		c.command.Process.Kill()
		c.command.Wait()
	})
	return nil
}

func (c *sshConn) LocalAddr() net.Addr  { return sshAddr{} }
func (c *sshConn) RemoteAddr() net.Addr { return sshAddr{} }

// A program's streams have no deadlines: a request's end is its context's.
func (c *sshConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *sshConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *sshConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// sshAddr is an end of a connection that has no address.
type sshAddr struct{}

func (sshAddr) Network() string { return "ssh" }
func (sshAddr) String() string  { return "ssh" }
