//go:build linux

package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/containerd/errdefs"
	"github.com/miekg/dns"
	"golang.org/x/net/netutil"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/explain"
)

const chapter explain.Chapter = 5

// What one container may ask of the daemon at a time.
const (
	maxQuestions   = 100
	maxConnections = 32
)

// View is what one container may know.
type View struct {
	Networks  []string   // the names of its networks; the first that has a name answers
	Upstreams []Upstream // asked for everything else, in this order; none: nothing else exists
}

// Server answers the questions of one container.
type Server struct {
	names     *Registry
	ns        *os.File
	view      atomic.Pointer[view]
	questions chan struct{} // one for each that is being answered

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	servers []*dns.Server
	serving sync.WaitGroup
}

// view is a View, with what is known of its upstreams.
type view struct {
	networks  []string
	upstreams []*upstream
}

// Listen answers at [Address] in the network namespace ns, by UDP and TCP, from
// names as far as view goes. It takes the place of a server that an earlier
// process had there. The loopback device in ns must be up. When Listen fails,
// nothing stays.
//
// ctx is for the setting up and its narration; the server goes on until it is
// closed, and holds the namespace until then.
//
// Undo: [Server.Close].
func Listen(ctx context.Context, ns *os.File, names *Registry, v View) (_ *Server, err error) {
	s := &Server{names: names, questions: make(chan struct{}, maxQuestions)}
	if err := s.Set(v); err != nil {
		return nil, err
	}
	fd, err := unix.FcntlInt(ns.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "duplicate", Path: ns.Name(), Err: err}
	}
	s.ns = os.NewFile(uintptr(fd), ns.Name())
	s.ctx, s.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()

	var udp net.PacketConn
	var tcp net.Listener
	address := netip.AddrPortFrom(Address, 0).String()
	if err := within(s.ns, func() (err error) {
		chapter.Call(ctx, "a socket belongs to the namespace in which it is made: nobody else's questions arrive here", "bind(SOCK_DGRAM, %q)", address)
		if udp, err = net.ListenPacket("udp4", address); err != nil {
			return err
		}
		chapter.Call(ctx, "answers that do not fit into a datagram are asked for by TCP", "bind(SOCK_STREAM, %q)", address)
		if tcp, err = net.Listen("tcp4", address); err != nil {
			udp.Close()
		}
		return err
	}); err != nil {
		return nil, fmt.Errorf("name server in %s: %w", ns.Name(), err)
	}
	ports := [2]int{udp.LocalAddr().(*net.UDPAddr).Port, tcp.Addr().(*net.TCPAddr).Port}
	if err := errors.Join(
		s.serve(&dns.Server{PacketConn: udp, UDPSize: dns.MaxMsgSize}),
		s.serve(&dns.Server{Listener: netutil.LimitListener(tcp, maxConnections)}),
	); err != nil {
		return nil, err
	}
	if err := redirect(ctx, s.ns, uint16(ports[0]), uint16(ports[1])); err != nil {
		return nil, err
	}
	return s, nil
}

// serve starts one of the two servers and returns when it has begun.
func (s *Server) serve(server *dns.Server) error {
	begun := make(chan error, 1)
	server.Handler, server.NotifyStartedFunc = s, func() { begun <- nil }
	s.serving.Go(func() {
		if err := server.ActivateAndServe(); err != nil {
			select {
			case begun <- err:
			default: // it had begun, and Close has ended it
			}
		}
	})
	err := <-begun
	if err == nil {
		s.servers = append(s.servers, server)
	}
	return err
}

// Set changes what the container may know, from the next question on. An
// upstream that is the server itself is an errdefs.ErrInvalidArgument.
func (s *Server) Set(v View) error {
	next := &view{networks: v.Networks}
	for _, u := range v.Upstreams {
		if !u.Address.IsValid() || u.Inside && u.Address.Addr().Unmap() == Address {
			return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("name server %s: it is no resolver that %s could ask", u.Address, Address))
		}
		next.upstreams = append(next.upstreams, &upstream{Upstream: u})
	}
	s.view.Store(next)
	return nil
}

// Close ends the server, gives up what is being asked, and takes its rules out
// of the container's namespace.
func (s *Server) Close() error {
	s.cancel()
	var all []error
	for _, server := range s.servers {
		all = append(all, server.Shutdown())
	}
	s.serving.Wait()
	all = append(all, unredirect(context.WithoutCancel(s.ctx), s.ns), s.ns.Close())
	return errors.Join(all...)
}

// ServeDNS answers one question; it implements [dns.Handler].
func (s *Server) ServeDNS(w dns.ResponseWriter, req *dns.Msg) {
	transport := w.LocalAddr().Network()
	var reply *dns.Msg
	select {
	case s.questions <- struct{}{}:
		reply = s.reply(s.ctx, req, transport)
		<-s.questions
	default:
		// Whoever asks faster than upstreams answer would fill the daemon's memory.
		reply = replyTo(req, dns.RcodeServerFailure)
	}
	fit(reply, req, transport)
	if w.WriteMsg(reply) != nil {
		// A record of an upstream that can be read and not be written.
		_ = w.WriteMsg(replyTo(req, dns.RcodeServerFailure))
	}
}

// fit makes reply as small as whoever sent req takes.
func fit(reply, req *dns.Msg, transport string) {
	reply.Compress = true
	if transport == "udp" {
		reply.Truncate(sizeOf(req))
	}
}

// reply answers one question that came by the transport "udp" or "tcp".
func (s *Server) reply(ctx context.Context, req *dns.Msg, transport string) *dns.Msg {
	switch opt := req.IsEdns0(); {
	case req.Opcode != dns.OpcodeQuery:
		return replyTo(req, dns.RcodeNotImplemented)
	case len(req.Question) != 1:
		return replyTo(req, dns.RcodeFormatError)
	case opt != nil && opt.Version() != 0:
		return replyTo(req, dns.RcodeBadVers)
	case req.Question[0].Qclass != dns.ClassINET:
		return replyTo(req, dns.RcodeRefused)
	case req.Question[0].Qtype == dns.TypeAXFR || req.Question[0].Qtype == dns.TypeIXFR:
		return replyTo(req, dns.RcodeRefused) // a whole zone, in many messages
	}
	v := s.view.Load()
	if reply := s.names.own(v.networks, req); reply != nil {
		return reply
	}
	return s.forward(ctx, v.upstreams, req, transport)
}

// within runs f on a thread that is in ns. Where the way back fails, the thread
// ends with its goroutine.
func within(ns *os.File, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		host, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer host.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("enter %s: %w", ns.Name(), os.NewSyscallError("setns", err))
			return
		}
		err = f()
		if unix.Setns(int(host.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}
