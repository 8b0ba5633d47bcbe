//go:build linux

package networking

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Relay copies what the rules do not translate, from the reserved port to the
// container at address to. That is little: connections to ::1, and those by
// IPv6 to a container that has IPv4 only. There is no sysctl that lets a packet from ::1
// leave the host, as route_localnet does for 127.0.0.1, so two connections
// stand in for one, and the container sees the host as the client.
//
// While somebody has flushed the rules it carries what comes to the port by
// other addresses too.
//
// It ends with [Reservation.Close], and with the process. SCTP is not relayed.
func (r *Reservation) Relay(ctx context.Context, to netip.Addr) error {
	target := netip.AddrPortFrom(to, r.Port.ContainerPort).String()
	if r.relay != nil {
		r.relay.close()
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	re := &relay{target: target, cancel: cancel}
	switch r.Port.Protocol {
	case "tcp":
		chapter.Call(ctx, "what comes from ::1 cannot be translated: here it is copied", "listen(%q, %d)", r.Port, unix.SOMAXCONN)
		// As before: the last connections of an earlier relay, which linger, are
		// no users of the port. A listener has it to itself whatever this says.
		if err := unix.SetsockoptInt(int(r.file.Fd()), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			cancel()
			return fmt.Errorf("relay port %s: %w", r.Port, os.NewSyscallError("setsockopt", err))
		}
		if err := unix.Listen(int(r.file.Fd()), unix.SOMAXCONN); err != nil {
			cancel()
			return fmt.Errorf("relay port %s: %w", r.Port, os.NewSyscallError("listen", err))
		}
		l, err := net.FileListener(r.file)
		if err != nil {
			cancel()
			return fmt.Errorf("relay port %s: %w", r.Port, err)
		}
		re.tasks.Go(func() { re.accept(ctx, l.(*net.TCPListener)) })
	case "udp":
		c, err := net.FilePacketConn(r.file)
		if err != nil {
			cancel()
			return fmt.Errorf("relay port %s: %w", r.Port, err)
		}
		re.tasks.Go(func() { re.datagrams(ctx, c) })
	default:
		cancel()
		return nil
	}
	r.relay = re
	return nil
}

type relay struct {
	target string // the container's address and port
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

func (r *relay) close() {
	r.cancel()
	r.tasks.Wait()
}

// past is a deadline that has passed. What waits is woken by it and then closes
// its socket itself: a Close from outside would return to nobody who waits for it,
// and the port would be in use for some time after the relay's end.
var past = time.Unix(1, 0)

func (r *relay) accept(ctx context.Context, l *net.TCPListener) {
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.SetDeadline(past) })()
	for {
		client, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				client.Close()
			}
			return
		}
		if err != nil {
			// The client has gone, or no descriptor is left for it; then it
			// is no use to ask again at once.
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		r.tasks.Go(func() { r.copyBoth(ctx, client.(*net.TCPConn)) })
	}
}

// copyBoth carries one connection. The end of either direction is passed on and
// leaves the other open, as TCP itself does.
func (r *relay) copyBoth(ctx context.Context, client *net.TCPConn) {
	defer client.Close()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.target)
	if err != nil {
		client.SetLinger(0) // the client is to see a reset, not an orderly end
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	defer context.AfterFunc(ctx, func() { client.SetDeadline(past); server.SetDeadline(past) })()
	var there sync.WaitGroup
	there.Go(func() {
		io.Copy(server, client)
		server.CloseWrite()
	})
	io.Copy(client, server)
	client.CloseWrite()
	there.Wait()
}

// silentFor is how long a client of a UDP port may be silent before it is
// forgotten: what connection tracking allows it (nf_conntrack_udp_timeout_stream).
const silentFor = 2 * time.Minute

// datagrams carries what clients send, each by a socket of its own, so that an
// answer finds its client.
func (r *relay) datagrams(ctx context.Context, c net.PacketConn) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(past) })()
	var mu sync.Mutex
	servers := make(map[string]net.Conn)
	buf := make([]byte, 1<<16)
	for {
		n, client, err := c.ReadFrom(buf)
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		mu.Lock()
		server := servers[client.String()]
		mu.Unlock()
		if server == nil {
			if server, err = new(net.Dialer).DialContext(ctx, "udp", r.target); err != nil {
				continue
			}
			mu.Lock()
			servers[client.String()] = server
			mu.Unlock()
			r.tasks.Go(func() {
				defer func() {
					mu.Lock()
					delete(servers, client.String())
					mu.Unlock()
					server.Close()
				}()
				answers(ctx, c, client, server)
			})
		}
		server.SetReadDeadline(time.Now().Add(silentFor))
		server.Write(buf[:n])
	}
}

// answers carries what one server socket gets back to its client.
func answers(ctx context.Context, c net.PacketConn, client net.Addr, server net.Conn) {
	defer context.AfterFunc(ctx, func() { server.Close() })()
	buf := make([]byte, 1<<16)
	for {
		n, err := server.Read(buf)
		if errors.Is(err, unix.ECONNREFUSED) {
			continue // nobody listens in the container yet
		}
		if err != nil {
			return
		}
		server.SetReadDeadline(time.Now().Add(silentFor))
		c.WriteTo(buf[:n], client)
	}
}
