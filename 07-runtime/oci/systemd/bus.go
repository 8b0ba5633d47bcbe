//go:build linux

package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/godbus/dbus/v5"
)

const (
	service = "org.freedesktop.systemd1"
	manager = service + ".Manager"
	object  = dbus.ObjectPath("/org/freedesktop/systemd1")
)

// Running reports whether systemd is process 1 here (sd_booted(3)).
func Running() bool {
	st, err := os.Lstat("/run/systemd/system")
	return err == nil && st.IsDir()
}

// bus is a connection to a systemd. It ends after jobTime: nobody is to wait
// longer for one that hangs.
type bus struct {
	conn   *dbus.Conn
	object dbus.BusObject
	ctx    context.Context
	cancel context.CancelFunc
}

func (b bus) close() {
	b.conn.Close()
	b.cancel()
}

// connect connects to the system's systemd, or the user's own: at its private
// socket where there is one, which saves the way through the message bus.
func connect(ctx context.Context, user bool) (bus, error) {
	private, address := "/run/systemd/private", os.Getenv("DBUS_SYSTEM_BUS_ADDRESS")
	standard := "unix:path=/run/dbus/system_bus_socket"
	if user {
		runtime := os.Getenv("XDG_RUNTIME_DIR")
		if runtime == "" {
			return bus{}, fmt.Errorf("--systemd-cgroup: XDG_RUNTIME_DIR is not set: log in as the user, or name his runtime directory: %w", errdefs.ErrFailedPrecondition)
		}
		private, address = filepath.Join(runtime, "systemd/private"), os.Getenv("DBUS_SESSION_BUS_ADDRESS")
		standard = "unix:path=" + filepath.Join(runtime, "bus")
	}
	direct := false
	if address == "" {
		address = standard
		if _, err := os.Stat(private); err == nil {
			direct, address = true, "unix:path="+private
		}
	}
	ctx, cancel := context.WithTimeout(ctx, jobTime)
	conn, err := dbus.Dial(address, dbus.WithContext(ctx))
	if err == nil {
		if err = greet(conn, direct); err != nil {
			conn.Close()
		}
	}
	if err != nil {
		cancel()
		return bus{}, fmt.Errorf("connect to systemd at %s: %w", address, err)
	}
	return bus{conn, conn.Object(service, object), ctx, cancel}, nil
}

func greet(conn *dbus.Conn, direct bool) error {
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err != nil {
		return err
	}
	if direct {
		return nil // at the private socket systemd itself answers, and no bus
	}
	return conn.Hello()
}

func (b bus) call(method string, args ...any) error {
	if err := b.object.CallWithContext(b.ctx, manager+"."+method, 0, args...).Err; err != nil {
		return fmt.Errorf("systemd: %s: %w", method, err)
	}
	return nil
}

// job makes a call that returns a job, and waits for the job's end.
func (b bus) job(unit, method string, args ...any) error {
	ended := make(chan *dbus.Signal, 16)
	b.conn.Signal(ended)
	defer b.conn.RemoveSignal(ended)
	// A connection to the private socket gets every signal, and there is no bus to ask for some.
	_ = b.conn.AddMatchSignalContext(b.ctx, dbus.WithMatchInterface(manager), dbus.WithMatchMember("JobRemoved"))
	if err := b.call("Subscribe"); err != nil && !isError(err, service+".AlreadySubscribed") {
		return err
	}
	var job dbus.ObjectPath
	if err := b.object.CallWithContext(b.ctx, manager+"."+method, 0, args...).Store(&job); err != nil {
		return fmt.Errorf("systemd: %s %s: %w", method, unit, err)
	}
	for {
		select {
		case s, ok := <-ended:
			if !ok {
				return fmt.Errorf("systemd: %s %s: it closed the connection", method, unit)
			}
			// JobRemoved(id u, job o, unit s, result s)
			if s.Name != manager+".JobRemoved" || len(s.Body) != 4 || s.Body[1] != job {
				continue
			}
			if result := s.Body[3]; result != "done" {
				return fmt.Errorf("systemd: %s %s: the job ended with %q: see systemctl status %s", method, unit, result, unit)
			}
			return nil
		case <-b.ctx.Done():
			return fmt.Errorf("systemd: %s %s: the job did not end within %v: %w", method, unit, jobTime, b.ctx.Err())
		}
	}
}

func isError(err error, name string) bool {
	var e dbus.Error
	return errors.As(err, &e) && e.Name == name
}
