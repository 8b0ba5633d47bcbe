//go:build linux

package networking

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// sctpInit is the packet that opens an SCTP association (RFC 9260, 3.1 and 3.3.2).
func sctpInit(from, to uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // verification tag 0, checksum
	b = append(b, 1, 0, 0, 20, 0xde, 0xad, 0xbe, 0xef, 0, 1, 0, 0, 0, 10, 0, 10, 0, 0, 0, 1)
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// The kernel translates SCTP whether or not it has sockets for it: the packets
// are written and read by raw ones.
func TestSCTPPortLeadsToTheContainer(t *testing.T) {
	l := newLab(t)
	n := l.network(0)
	c, ep := l.container(n, 2, "13868:3868/sctp")
	var server, client int
	l.at(c, func() {
		var err error
		server, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
		must(t, err)
	})
	defer unix.Close(server)
	l.at(l.outside, func() {
		var err error
		client, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
		must(t, err)
	})
	defer unix.Close(client)
	arrives := func(from uint16) []byte {
		t.Helper()
		must(t, unix.Sendto(client, sctpInit(from, 13868), 0, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 1}}))
		patience := unix.NsecToTimeval(int64(time.Second))
		must(t, unix.SetsockoptTimeval(server, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience))
		buf := make([]byte, 200)
		n, _, err := unix.Recvfrom(server, buf, 0)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		must(t, err)
		return buf[:n]
	}
	got := arrives(4000)
	if len(got) < 32 {
		t.Fatalf("no INIT arrives in the container: %x", got)
	}
	ip, sctp := got[:20], got[20:]
	if src, port := ip[12:16], binary.BigEndian.Uint16(sctp[2:]); string(src) != "\xc0\x00\x02\x02" || port != 3868 {
		t.Errorf("the INIT comes from %v to port %d", src, port)
	}
	checksum := binary.LittleEndian.Uint32(sctp[8:])
	clear(sctp[8:12])
	if want := crc32.Checksum(sctp, crc32.MakeTable(crc32.Castagnoli)); checksum != want {
		t.Errorf("its checksum is %08x, and ought to be %08x", checksum, want)
	}
	must(t, n.Unpublish(background, ep))
	if got := arrives(4001); got != nil {
		t.Errorf("an INIT arrives after Unpublish: %x", got)
	}
}

func TestReserveSCTP(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	p := Port{ContainerPort: 3868, Protocol: "sctp"}
	r, err := Reserve(p)
	if errdefs.IsNotImplemented(err) {
		if want := "port *:0->3868/sctp: this kernel has no SCTP; sudo modprobe sctp loads it, where it was built"; err.Error() != want {
			t.Errorf("Reserve: %v, want %s", err, want)
		}
		t.Skip("this kernel has no SCTP sockets: that it says so is all that can be tested")
	}
	must(t, err)
	defer r.Close()
	if _, err := Reserve(r.Port); !errdefs.IsAlreadyExists(err) {
		t.Errorf("the port is reserved twice: %v", err)
	}
}
