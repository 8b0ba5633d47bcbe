//go:build linux

package networking

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/doctor"
	"drydock.example/01-chroot/hosttest"
)

// These tests are root, to make the world around an ordinary user. The user is
// this program once more: an engine, which makes a container and its network,
// and the container, which waits.
const stackRole = "DRYDOCK_TEST_USER_STACK"

func init() {
	role := os.Getenv(stackRole)
	switch {
	case role == "container":
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	case role != "":
		if err := rootlessEngine(role, os.Args[1:]); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// rootlessEngine makes a container and its network, says the numbers of the
// container and of the program, and then obeys: "close", "end" (the
// container's), and the end of its input.
func rootlessEngine(program string, published []string) error {
	var ports []Port
	for _, s := range published {
		p, err := ParsePort(s)
		if err != nil {
			return err
		}
		ports = append(ports, p...)
	}
	container := exec.Command("/proc/self/exe")
	container.Env = []string{stackRole + "=container"}
	container.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	stdin, err := container.StdinPipe()
	if err != nil {
		return err
	}
	if err := container.Start(); err != nil {
		return err
	}
	defer stdin.Close()
	u, err := StartUserStack(background, program, container.Process.Pid, ports)
	if err != nil {
		return err
	}
	fmt.Println(container.Process.Pid, u.process.Pid, u.Ports)
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		switch orders.Text() {
		case "close":
			if err := u.Close(); err != nil {
				return err
			}
		case "end":
			stdin.Close()
			if err := container.Wait(); err != nil {
				return err
			}
			<-u.Ended()
		}
		fmt.Println("done")
	}
	return orders.Err()
}

// userLab is a lab with an ordinary user's container in it.
type userLab struct {
	*lab
	engine    *exec.Cmd
	orders    io.WriteCloser
	says      *bufio.Reader
	container *os.File // its network namespace
	stack     *os.File // a pidfd of the program
}

// newWorld is a lab whose host has a way out, as user-mode stacks ask for.
func newWorld(t *testing.T) *lab {
	t.Helper()
	hosttest.Require(t, hosttest.UserNamespaces)
	openTun(t)
	l := newLab(t)
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: linkByName(t, "uplink").Attrs().Index, Gw: net.ParseIP(outsideAddress)}))
	return l
}

// openTun gives the tests the device as udev would, where the host has it for
// root alone.
func openTun(t *testing.T) {
	t.Helper()
	info, err := os.Stat(tunDevice)
	if err != nil {
		t.Skipf("requires %s: %v", tunDevice, err)
	}
	if tunFound(info, nil).Status != doctor.OK {
		ownTun(t, 0o666)
	}
}

// ownTun gives the tests' mount namespace a device of its own.
func ownTun(t *testing.T, mode os.FileMode) {
	t.Helper()
	hosttest.Require(t, hosttest.Root)
	dir := filepath.Dir(tunDevice)
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	must(t, unix.Mknod(tunDevice, unix.S_IFCHR, int(unix.Mkdev(10, 200)))) // Documentation/admin-guide/devices.txt
	must(t, os.Chmod(tunDevice, mode))
}

// engine starts the ordinary user's engine and returns what it says first.
func (l *lab) engine(program string, published ...string) (*userLab, string) {
	l.t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	must(l.t, err)
	dir := hosttest.OpenDir(l.t)
	must(l.t, os.WriteFile(dir+"/engine", self, 0o755))
	must(l.t, os.Mkdir(dir+"/tmp", 0o777))
	must(l.t, os.Chown(dir+"/tmp", hosttest.Ordinary, hosttest.Ordinary))
	u := &userLab{lab: l, engine: exec.Command(dir+"/engine", published...)}
	u.engine.Dir, u.engine.Stderr = "/", os.Stderr
	u.engine.Env = append(os.Environ(), stackRole+"="+program, "TMPDIR="+dir+"/tmp")
	u.engine.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: hosttest.Ordinary, Gid: hosttest.Ordinary}}
	u.orders, err = u.engine.StdinPipe()
	must(l.t, err)
	out, err := u.engine.StdoutPipe()
	must(l.t, err)
	must(l.t, u.engine.Start())
	l.t.Cleanup(func() {
		u.orders.Close()
		_ = u.engine.Wait()
		left, err := os.ReadDir(dir + "/tmp")
		if err != nil || len(left) > 0 {
			l.t.Errorf("the engine leaves %v, %v", left, err)
		}
	})
	u.says = bufio.NewReader(out)
	line, err := u.says.ReadString('\n')
	must(l.t, err)
	return u, strings.TrimSpace(line)
}

// userContainer starts an engine with one container.
func (l *lab) userContainer(program string, published ...string) *userLab {
	l.t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		l.t.Skipf("requires the program %s", program)
	}
	u, line := l.engine(program, published...)
	var container, stack int
	if _, err := fmt.Sscan(line, &container, &stack); err != nil {
		l.t.Fatalf("the engine says %q", line)
	}
	var err error
	u.container, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", container))
	must(l.t, err)
	l.t.Cleanup(func() { u.container.Close() })
	fd, err := unix.PidfdOpen(stack, 0)
	must(l.t, err)
	u.stack = os.NewFile(uintptr(fd), "stack")
	l.t.Cleanup(func() { u.stack.Close() })
	return u
}

func (u *userLab) order(what string) {
	u.t.Helper()
	_, err := fmt.Fprintln(u.orders, what)
	must(u.t, err)
	if line, err := u.says.ReadString('\n'); err != nil || line != "done\n" {
		u.t.Fatalf("the engine says %q to %s: %v", line, what, err)
	}
}

// stackEnds waits until the program has ended.
func (u *userLab) stackEnds(why string) {
	u.t.Helper()
	n, err := 0, error(unix.EINTR)
	for err == unix.EINTR {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(u.stack.Fd()), Events: unix.POLLIN}}, 10_000)
	}
	if err != nil || n != 1 {
		u.t.Errorf("the program goes on: %s (%v)", why, err)
	}
}

// talker answers whoever speaks first with his address: see [userStackProgram].
func (u *userLab) talker(ns *os.File, address string) {
	u.t.Helper()
	u.at(ns, func() {
		ln, err := net.Listen("tcp4", address)
		must(u.t, err)
		u.t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				if _, err := conn.Read(make([]byte, 1)); err == nil {
					host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
					fmt.Fprintln(conn, host)
				}
				conn.Close()
			}
		}()
	})
}

func (u *userLab) talk(ns *os.File, address string, timeout time.Duration) (seen string, err error) {
	u.t.Helper()
	u.at(ns, func() {
		var conn net.Conn
		if conn, err = net.DialTimeout("tcp4", address, timeout); err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(timeout))
		if _, err = conn.Write([]byte("?")); err == nil {
			seen, err = bufio.NewReader(conn).ReadString('\n')
		}
	})
	return strings.TrimSpace(seen), err
}

var userStacks = []string{"pasta", "slirp4netns"}

func TestUserStack(t *testing.T) {
	for _, program := range userStacks {
		t.Run(program, func(t *testing.T) {
			l := newWorld(t)
			u := l.userContainer(program, "18080:8080", "127.0.0.1:18081:8080", "18053:8053/udp")
			u.talker(l.outside, ":8080")
			u.talker(u.container, ":8080")
			u.serve(l.outside, "udp", ":8053")
			u.serve(u.container, "udp", ":8053")
			// The way out: the world sees the host.
			u.answers(u.container, "udp", outsideAddress+":8053", hostAddress)
			if seen, err := u.talk(u.container, outsideAddress+":8080", 5*time.Second); seen != hostAddress {
				t.Errorf("the world sees %s, %v", seen, err)
			}
			// The way in, from another host and from the host itself.
			for _, from := range []struct {
				ns      *os.File
				address string
			}{{l.outside, hostAddress}, {nil, hostAddress}, {nil, "127.0.0.1"}} {
				if _, err := u.talk(from.ns, from.address+":18080", 5*time.Second); err != nil {
					t.Errorf("%s:18080: %v", from.address, err)
				}
			}
			u.answers(l.outside, "udp", hostAddress+":18053", "")
			if _, err := u.talk(nil, "127.0.0.1:18081", 5*time.Second); err != nil {
				t.Errorf("127.0.0.1:18081: %v", err)
			}
			if _, err := u.talk(l.outside, hostAddress+":18081", silence); err == nil {
				t.Error("another host reaches what is published on 127.0.0.1")
			}

			// The attack: by every address that could mean the host's localhost.
			u.talker(nil, "127.0.0.1:9999")
			if _, err := u.talk(nil, "127.0.0.1:9999", 5*time.Second); err != nil {
				t.Fatal(err)
			}
			for _, address := range []string{outsideAddress, hostAddress, "10.0.2.2", "10.0.2.3", "127.0.0.1"} {
				if _, err := u.talk(u.container, address+":9999", silence); err == nil {
					t.Errorf("the container reaches the host's localhost by %s", address)
				}
			}

			u.order("close")
			u.stackEnds("it was closed")
			if _, err := u.talk(nil, "127.0.0.1:18080", silence); err == nil {
				t.Error("the port is published when the network is closed")
			}
		})
	}
}

func TestUserStackEndsWithTheContainer(t *testing.T) {
	for _, program := range userStacks {
		t.Run(program, func(t *testing.T) {
			u := newWorld(t).userContainer(program)
			u.order("end")
			u.stackEnds("the container has ended")
		})
	}
}

func TestUserStackEndsWithItsEngine(t *testing.T) {
	for _, program := range userStacks {
		t.Run(program, func(t *testing.T) {
			u := newWorld(t).userContainer(program)
			must(t, u.engine.Process.Kill())
			u.stackEnds("its engine was killed")
		})
	}
}

// Both kinds of a host's resolver: one in the world, and one on its localhost.
func TestUserStackResolver(t *testing.T) {
	for _, program := range userStacks {
		for _, resolver := range []string{outsideAddress, "127.0.0.1"} {
			t.Run(program+" "+resolver, func(t *testing.T) {
				l := newWorld(t)
				conf := t.TempDir() + "/resolv.conf"
				must(t, os.WriteFile(conf, []byte("nameserver "+resolver+"\n"), 0o644))
				must(t, unix.Mount(conf, "/etc/resolv.conf", "", unix.MS_BIND, ""))
				defer func() { must(t, unix.Unmount("/etc/resolv.conf", unix.MNT_DETACH)) }()
				u := l.userContainer(program)
				at := map[bool]*os.File{true: l.outside, false: nil}[resolver == outsideAddress]
				u.serve(at, "udp", resolver+":53")
				u.answers(u.container, "udp", userResolvers[program].String()+":53", "")
			})
		}
	}
}

func TestUserStackChoosesAPort(t *testing.T) {
	for _, program := range userStacks {
		t.Run(program, func(t *testing.T) {
			l := newWorld(t)
			if _, err := exec.LookPath(program); err != nil {
				t.Skipf("requires the program %s", program)
			}
			_, line := l.engine(program, "127.0.0.1::80")
			var container, stack int
			var port string
			if _, err := fmt.Sscan(line, &container, &stack, &port); err != nil {
				t.Fatalf("the engine says %q", line)
			}
			address, _, _ := strings.Cut(strings.TrimPrefix(port, "["), "->")
			if a, err := netip.ParseAddrPort(address); err != nil || a.Port() == 0 {
				t.Fatalf("the engine says %q", line)
			}
			conn, err := net.DialTimeout("tcp", address, 5*time.Second)
			must(t, err)
			conn.Close()
		})
	}
}

func TestUserStackRefuses(t *testing.T) {
	l := newWorld(t)
	taken, err := net.Listen("tcp4", "127.0.0.1:18080")
	must(t, err)
	defer taken.Close()
	for _, program := range userStacks {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("requires the program %s", program)
		}
		if _, line := l.engine(program, "127.0.0.1:18080:80"); line != "error: port 18080/tcp on 127.0.0.1 is in use: bind: address already in use" {
			t.Errorf("%s: a port that is taken: %s", program, line)
		}
	}
	ownTun(t, 0o600)
	if _, line := l.engine("pasta"); line != "error: a network without root takes a tap device: open /dev/net/tun: permission denied; the cure: sudo chmod 666 /dev/net/tun" {
		t.Errorf("root's own device: %s", line)
	}
	_, err = StartUserStack(background, "curl", os.Getpid(), nil)
	if want := `"curl" is neither pasta nor slirp4netns`; err == nil || err.Error() != want || !errdefs.IsInvalidArgument(err) {
		t.Errorf("%v, want %s", err, want)
	}
	t.Setenv("PATH", "")
	_, err = StartUserStack(background, "", os.Getpid(), nil)
	if !errdefs.IsNotImplemented(err) || !strings.Contains(err.Error(), "neither is installed") {
		t.Errorf("without a program: %v", err)
	}
}

func TestPastaYear(t *testing.T) {
	dir := t.TempDir()
	for version, want := range map[string]int{
		"pasta 0.0~git20230309.7c7625d-1": 2023,
		"pasta 0.0~git20250503.587980c-2": 2025,
		"pasta 2025_05_03.587980c":        2025,
		"pasta unknown version":           0,
	} {
		must(t, os.WriteFile(dir+"/pasta", []byte("#!/bin/sh\necho '"+version+"'\n"), 0o755))
		if got := pastaYear(dir + "/pasta"); got != want {
			t.Errorf("%s: %d, want %d", version, got, want)
		}
	}
}
