//go:build linux

package cgroups_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// playSend opens a socket, says its priority, and sends a packet to a port of
// this machine.
func playSend(port string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	priority, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY)
	if err != nil {
		return err
	}
	fmt.Println(priority)
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	return unix.Sendto(fd, []byte("hello"), 0, &unix.SockaddrInet4{Port: n, Addr: [4]byte{127, 0, 0, 1}})
}

// sent has a process in c send a packet, and returns the mark on the packet as
// it arrives, and the priority of the socket it left by.
func sent(t *testing.T, c *cgroups.Cgroup) (mark uint32, priority string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVMARK, 1); err != nil {
		t.Skipf("requires a kernel that shows a packet's mark (SO_RCVMARK, 5.19): %v", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, c, "send", strconv.Itoa(at.(*unix.SockaddrInet4).Port))
	control := make([]byte, 256)
	_, n, _, _, err := unix.Recvmsg(fd, make([]byte, 16), control, unix.MSG_DONTWAIT) // it was sent before "ready"
	if err != nil {
		t.Fatalf("%v; the sender said %q", err, p.said)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_MARK {
			mark = binary.NativeEndian.Uint32(m.Data)
		}
	}
	return mark, strings.TrimSpace(p.said)
}

// On v2, and on a hybrid host whose v1 has neither hierarchy, a program writes
// both on each new socket.
func TestNetworkClassAndPriorityWithoutV1(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	to := func(class, priority uint32, more ...specs.LinuxInterfacePriority) *specs.LinuxResources {
		return &specs.LinuxResources{Network: &specs.LinuxNetwork{
			ClassID: &class, Priorities: append([]specs.LinuxInterfacePriority{{Name: "eth0", Priority: priority}}, more...),
		}}
	}
	c := create(t, "network", to(0x10001, 5))
	if paths := c.Paths(); paths["net_cls"] != "" || paths[""] == "" {
		t.Skip("requires a v2 hierarchy, and none of net_cls on v1")
	}
	if mark, priority := sent(t, c); mark != 0x10001 || priority != "5" {
		t.Errorf("mark %#x and priority %s, want 0x10001 and 5", mark, priority)
	}
	if mark, priority := sent(t, create(t, "network-none", nil)); mark != 0 || priority != "0" {
		t.Errorf("beside it: mark %#x and priority %s, want none", mark, priority)
	}
	// A second program takes the first one's place.
	if err := c.Set(t.Context(), to(0x20002, 0)); err != nil {
		t.Fatal(err)
	}
	if mark, priority := sent(t, c); mark != 0x20002 || priority != "0" {
		t.Errorf("after Set: mark %#x and priority %s, want 0x20002 and 0", mark, priority)
	}
	err := c.Set(t.Context(), to(1, 5, specs.LinuxInterfacePriority{Name: "eth1", Priority: 6}))
	if want := "network priority 5 of eth0 and 6 of eth1: on cgroup v2 a socket has one for all interfaces: give each the same"; !errdefs.IsFailedPrecondition(err) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// v1 has a file for each. Few hosts mount the two; in a mount namespace anybody
// can:
//
//	unshare -m sh -c 'mount -t tmpfs none /mnt && mkdir /mnt/net && mount -t cgroup -o net_cls,net_prio none /mnt/net &&
//		go test -run NetworkClassAndPriorityOnV1 .'
func TestNetworkClassAndPriorityOnV1(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.CgroupV1)
	network := func(name string) *specs.LinuxResources {
		return &specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: ptr(uint32(0x10001)), Priorities: []specs.LinuxInterfacePriority{{Name: name, Priority: 5}}}}
	}
	c := create(t, "network", network("lo"))
	dir := c.Paths()["net_cls"]
	if dir == "" || c.Paths()["net_prio"] == "" {
		t.Skip("requires the v1 hierarchies of net_cls and net_prio")
	}
	for file, want := range map[string]string{dir + "/net_cls.classid": "65537\n", c.Paths()["net_prio"] + "/net_prio.ifpriomap": "lo 5\n"} {
		if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %q, %v", file, b, err)
		}
	}
	err := c.Set(t.Context(), network("nosuch0"))
	if want := "write nosuch0 5 to " + c.Paths()["net_prio"] + "/net_prio.ifpriomap: no such device"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
