package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/moby/moby/client"

	"drydock.example/01-chroot/explain"
)

// connection is the way to the daemon that this run talks to.
type connection struct {
	*client.Client
	host     string
	onDemand bool // the daemon may be started when none answers
	started  sync.Once
	startErr error
	narrated *narration // nil without --explain
}

// api returns the connection and the context with which requests are to be
// made. Nothing is sent yet, unless --explain opens its stream.
func (c *cli) api(ctx context.Context) (context.Context, *connection, error) {
	if c.conn == nil {
		conn, err := c.connect()
		if err != nil {
			return ctx, nil, err
		}
		c.conn = conn
	}
	if !c.explain {
		return ctx, c.conn, nil
	}
	ctx = explain.With(ctx, c.conn.narrated.handler)
	return ctx, c.conn, c.conn.narrated.open(ctx, c.conn)
}

func (c *cli) connect() (*connection, error) {
	conn, ssh, err := c.destination()
	if err != nil {
		return nil, err
	}
	options := []client.Opt{client.WithUserAgent("drydock/" + c.version)}
	if os.Getenv(client.EnvOverrideAPIVersion) != "" {
		options = append(options, client.WithAPIVersionFromEnv())
	} else {
		// Client and daemon are built together: asking for the version would cost
		// each command a round trip.
		options = append(options, client.WithAPIVersion(client.MaxAPIVersion))
	}
	path, unix := strings.CutPrefix(conn.host, "unix://")
	switch {
	case ssh != nil:
		options = append(options, client.WithHost("http://"+ssh.name), client.WithDialContext(func(ctx context.Context, _, _ string) (net.Conn, error) {
			return ssh.dial(ctx)
		}))
	case unix:
		options = append(options, client.WithHost(conn.host), client.WithDialContext(func(ctx context.Context, _, _ string) (net.Conn, error) {
			return conn.dial(ctx, path)
		}))
	default:
		options = append(options, client.WithHost(conn.host))
	}
	if c.explain {
		id := rand.Text()
		conn.narrated = &narration{id: id, handler: explain.Text(c.err)}
		options = append(options,
			client.WithHTTPHeaders(map[string]string{"Drydock-Explain": id}),
			client.WithHTTPRequestHook(func(r *http.Request) error {
				chapter.Call(r.Context(), "ask the daemon", "write(%q)", r.Method+" "+r.URL.RequestURI())
				return nil
			}))
	}
	conn.Client, err = client.New(options...)
	if err != nil {
		return nil, fmt.Errorf("daemon socket %q: %w; want unix:///PATH, tcp://HOST:PORT or ssh://HOST", conn.host, err)
	}
	return conn, nil
}

// destination finds the daemon: by -H, DRYDOCK_HOST, or the current context.
func (c *cli) destination() (conn *connection, ssh *sshHost, err error) {
	name, err := c.currentContext()
	if err != nil {
		return nil, nil, err
	}
	conn = &connection{host: c.defaultHost()}
	var config string
	if name != defaultContext {
		d, err := loadContext(name)
		if err != nil {
			return nil, nil, err
		}
		conn.host, config = d.Host, d.SSHConfig
	} else if c.host == "" && os.Getenv("DRYDOCK_HOST") == "" {
		conn.onDemand = mayStart()
	}
	if !strings.HasPrefix(conn.host, "ssh://") {
		return conn, nil, nil
	}
	if ssh, err = parseSSH(conn.host); err != nil {
		return nil, nil, err
	}
	ssh.config = config
	return conn, ssh, nil
}

// defaultHost is the daemon's address without a context.
func (c *cli) defaultHost() string {
	return cmp.Or(c.host, os.Getenv("DRYDOCK_HOST"), defaultHost)
}

// dial connects to the socket, and to the socket of the daemon that it starts
// when there is none. A daemon that has left for idleness refuses in the same way.
func (conn *connection) dial(ctx context.Context, path string) (net.Conn, error) {
	var dialer net.Dialer
	chapter.Call(ctx, "reach the daemon", "connect({sa_family=AF_UNIX, sun_path=%q})", path)
	c, err := dialer.DialContext(ctx, "unix", path)
	if err == nil || !conn.onDemand || !nobodyListens(err) {
		return c, err
	}
	conn.started.Do(func() { conn.startErr = startDaemon(ctx) })
	if conn.startErr != nil {
		return nil, &startError{conn.startErr}
	}
	return dialer.DialContext(ctx, "unix", path)
}

// startError is the reason why the daemon could not be started.
type startError struct{ err error }

func (e *startError) Error() string { return "cannot start the Drydock daemon: " + e.err.Error() }
func (e *startError) Unwrap() error { return e.err }

// close ends the narration and the connections that are kept for a next request.
func (conn *connection) close() {
	conn.narrated.close()
	_ = conn.Client.Close()
}

// daemonError returns err in the words for the user. Moby's client speaks of
// Docker where no daemon answers.
func (c *cli) daemonError(err error) string {
	var start *startError
	var ssh *sshError
	switch {
	case errors.As(err, &start):
		return start.Error()
	case errors.As(err, &ssh):
		return fmt.Sprintf("Cannot connect to the Drydock daemon at %s: %v", c.conn.host, ssh)
	case !client.IsErrConnectionFailed(err):
		return err.Error()
	case errors.Is(err, fs.ErrPermission), strings.Contains(err.Error(), "permission denied"):
		return fmt.Sprintf("permission denied while trying to connect to the Drydock daemon at %s; be root, or a member of the socket's group", c.conn.host)
	}
	return fmt.Sprintf("Cannot connect to the Drydock daemon at %s. Is the daemon running?", c.conn.host)
}
