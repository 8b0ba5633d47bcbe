//go:build linux

package networking

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"

	"drydock.example/01-chroot/hosttest"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

func TestReservedPortIsNobodyElses(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	for _, protocol := range []string{"tcp", "udp"} {
		p := Port{HostPort: 18080, ContainerPort: 80, Protocol: protocol}
		r, err := Reserve(p)
		must(t, err)
		want := "port 18080/" + protocol + " on * is in use: bind: address already in use"
		if _, err := Reserve(p); err == nil || err.Error() != want || !errdefs.IsAlreadyExists(err) {
			t.Errorf("Reserve: %v, want %s", err, want)
		}
		// net.Listen asks with SO_REUSEADDR, as most servers do.
		for _, address := range []string{":18080", "127.0.0.1:18080"} {
			if err := listen(protocol, address); !errors.Is(err, unix.EADDRINUSE) {
				t.Errorf("listen on %s %s: %v, want address already in use", protocol, address, err)
			}
		}
		must(t, r.Close())
		if err := listen(protocol, ":18080"); err != nil {
			t.Errorf("after Close: %v", err)
		}
	}
}

func listen(protocol, address string) error {
	if protocol == "udp" {
		c, err := net.ListenPacket("udp4", address)
		if err == nil {
			c.Close()
		}
		return err
	}
	l, err := net.Listen("tcp4", address)
	if err == nil {
		l.Close()
	}
	return err
}

func TestReservedPortRefusesConnections(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	r, err := Reserve(Port{HostPort: 18080, ContainerPort: 80, Protocol: "tcp"})
	must(t, err)
	defer r.Close()
	if _, err := net.Dial("tcp4", "127.0.0.1:18080"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("Dial: %v, want connection refused", err)
	}
}

// The port of a server that has gone is free, although its last connections
// still linger.
func TestReserveAfterAServer(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	l, err := net.Listen("tcp4", "127.0.0.1:18080")
	must(t, err)
	client, err := net.Dial("tcp4", "127.0.0.1:18080")
	must(t, err)
	server, err := l.Accept()
	must(t, err)
	must(t, server.Close()) // closes first: its side is the one in TIME_WAIT
	client.Read(make([]byte, 1))
	must(t, client.Close())
	must(t, l.Close())
	r, err := Reserve(Port{HostPort: 18080, ContainerPort: 80, Protocol: "tcp"})
	must(t, err)
	must(t, r.Close())
}

func TestReserveFindsAUserOfThePort(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	l, err := net.Listen("tcp4", "127.0.0.1:18080")
	must(t, err)
	defer l.Close()
	_, err = Reserve(Port{HostPort: 18080, ContainerPort: 80, Protocol: "tcp"})
	if want := "port 18080/tcp on * is in use: bind: address already in use"; err == nil || err.Error() != want {
		t.Errorf("Reserve: %v, want %s", err, want)
	}
	_, err = Reserve(Port{HostIP: netip.MustParseAddr("192.0.2.99"), HostPort: 18080, ContainerPort: 80, Protocol: "tcp"})
	if want := "reserve port 18080/tcp on 192.0.2.99: bind: cannot assign requested address"; err == nil || err.Error() != want {
		t.Errorf("Reserve: %v, want %s", err, want)
	}
}

func TestReserveChooses(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	for _, protocol := range []string{"tcp", "udp"} {
		r, err := Reserve(Port{ContainerPort: 80, Protocol: protocol})
		must(t, err)
		if r.Port.HostPort == 0 || r.Port.ContainerPort != 80 {
			t.Fatalf("Reserve chose %v", r.Port)
		}
		// Held as a named one is: the kernel does not take it back.
		if _, err := Reserve(r.Port); !errdefs.IsAlreadyExists(err) {
			t.Errorf("the chosen port %v is reserved twice: %v", r.Port, err)
		}
		address := "127.0.0.1:" + strconv.Itoa(int(r.Port.HostPort))
		if err := listen(protocol, address); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("the chosen port is not held: %v", err)
		}
		if _, err := net.Dial("tcp4", address); protocol == "tcp" && !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("Dial: %v, want connection refused", err)
		}
		must(t, r.Close())
		if err := listen(protocol, address); err != nil {
			t.Errorf("after Close: %v", err)
		}
	}
}

// A reservation must not pass to a program that the engine starts.
func TestReservationIsNotInherited(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	r, err := Reserve(Port{ContainerPort: 80, Protocol: "tcp"})
	must(t, err)
	defer r.Close()
	flags, err := unix.FcntlInt(r.file.Fd(), syscall.F_GETFD, 0)
	must(t, err)
	if flags&unix.FD_CLOEXEC == 0 {
		t.Error("the socket stays open over execve")
	}
}
