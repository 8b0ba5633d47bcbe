//go:build linux

package networking

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// UserStack is the network of a container whose user may not make links in the
// host's namespace: a process that reads the container's packets from a tap
// device, and does with sockets of its own what they ask for. It is one of two
// programs:
//
//   - pasta, which hands the host's address and routes on to the container and
//     keeps no TCP state of its own
//   - slirp4netns, older and found in more places, with a TCP stack and the
//     address 10.0.2.100, IPv4 alone
//
// Neither lets the container reach what listens on the host's localhost.
type UserStack struct {
	Program string // "pasta" or "slirp4netns"
	Ports   []Port // with each HostPort chosen
	// Resolver is where the container finds the host's first resolver, by UDP,
	// also when that is on the host's localhost.
	Resolver netip.Addr

	process   *os.Process
	container *os.File // pidfd
	ended     chan struct{}
	output    tail
}

// userResolvers are addresses that nobody has: slirp4netns's own, and one that
// pasta is told.
var userResolvers = map[string]netip.Addr{
	"pasta":       netip.MustParseAddr("169.254.1.1"),
	"slirp4netns": netip.MustParseAddr("10.0.2.3"),
}

// userStackPatience is for the program to set up the container's link.
const userStackPatience = 10 * time.Second

// StartUserStack gives the network namespace of the process pid, a container's
// first one, a link eth0 with a way out, and leads ports into it. The container
// is in a user namespace that the caller's user made; no privilege is needed,
// but for host ports below net.ipv4.ip_unprivileged_port_start. A program of ""
// is the better one of those that are installed, and none an errdefs.ErrNotImplemented. A port
// that someone has is an errdefs.ErrAlreadyExists.
//
// The program ends with the container, with [UserStack.Close], and with this
// process, also when that is killed.
func StartUserStack(ctx context.Context, program string, pid int, ports []Port) (_ *UserStack, err error) {
	path, err := userStackProgram(program)
	if err != nil {
		return nil, err
	}
	if err := openableTun(); err != nil {
		return nil, err
	}
	u := &UserStack{Program: filepath.Base(path), ended: make(chan struct{})}
	u.Resolver = userResolvers[u.Program]
	if u.Ports, err = chooseUserPorts(u.Program, ports); err != nil {
		return nil, err
	}
	// The descriptor is of this process, whoever gets its number afterwards.
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, os.NewSyscallError("pidfd_open", err))
	}
	u.container = os.NewFile(uintptr(fd), "process "+strconv.Itoa(pid))
	defer func() {
		if err != nil {
			err = errors.Join(err, u.Close())
		}
	}()
	var socket *os.File // the directory of slirp4netns's, until it has been told the ports
	if u.Program == "slirp4netns" {
		dir, err := os.MkdirTemp("", "drydock-net-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		if socket, err = os.Open(dir); err != nil {
			return nil, err
		}
		defer socket.Close()
	}

	ctx, cancel := context.WithTimeout(ctx, userStackPatience)
	defer cancel()
	if err := u.start(ctx, path, pid, socket); err != nil {
		return nil, err
	}
	for _, p := range u.Ports {
		if socket == nil {
			break // pasta has its ports already
		}
		if err := forward(ctx, socket, p); err != nil {
			return nil, err
		}
	}
	go u.endWithContainer()
	return u, nil
}

// userStackProgram finds the program. Where the choice is ours it is pasta, but
// for one of before 2025: those acknowledge a connection from another host only
// when the client has spoken, and a server that has the first word, as of SSH
// or MySQL, says it in vain.
func userStackProgram(program string) (path string, err error) {
	switch program {
	case "":
		pasta, errPasta := exec.LookPath("pasta")
		slirp, errSlirp := exec.LookPath("slirp4netns")
		switch {
		case errPasta != nil && errSlirp != nil:
			return "", errdefs.ErrNotImplemented.WithMessage("a network without root takes the program pasta or slirp4netns, and neither is installed (Debian's packages passt and slirp4netns)")
		case errSlirp != nil || errPasta == nil && pastaYear(pasta) >= 2025:
			return pasta, nil
		}
		return slirp, nil
	case "pasta", "slirp4netns":
		if path, err = exec.LookPath(program); err != nil {
			return "", errdefs.ErrNotImplemented.WithMessage(fmt.Sprintf("the program %s is not installed", program))
		}
		return path, nil
	}
	return "", invalid("%q is neither pasta nor slirp4netns", program)
}

// pastaVersion is a release's date: 2025_05_03.587980c, or 0.0~git20250503.587980c
// as Debian writes it.
var pastaVersion = regexp.MustCompile(`^pasta (?:0\.0~git)?(\d{4})`)

// pastaYear is when the program was released; 0: it does not say.
func pastaYear(path string) int {
	out, err := exec.Command(path, "--version").Output()
	if m := pastaVersion.FindSubmatch(out); err == nil && m != nil {
		year, _ := strconv.Atoi(string(m[1]))
		return year
	}
	return 0
}

// chooseUserPorts checks that the host's ports are free, and chooses those that are 0. It
// cannot hold them: the program binds them itself, a moment later.
func chooseUserPorts(program string, ports []Port) ([]Port, error) {
	var chosen []Port
	for _, p := range ports {
		switch {
		case p.Protocol != "tcp" && p.Protocol != "udp":
			return nil, invalid("port %s: %s knows tcp and udp only", p, program)
		case program == "slirp4netns" && p.HostIP.IsValid() && !p.HostIP.Unmap().Is4():
			return nil, invalid("port %s: slirp4netns has no IPv6 ports", p)
		}
		r, err := Reserve(p)
		if err != nil {
			return nil, err
		}
		defer r.Close() // together, so that no port is chosen twice
		chosen = append(chosen, r.Port)
	}
	return chosen, nil
}

// start runs the program and returns when the container's link is ready.
func (u *UserStack) start(ctx context.Context, path string, pid int, socket *os.File) error {
	ready, told, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd := exec.Command(path)
	cmd.Stderr = &u.output
	switch u.Program {
	case "pasta":
		cmd.Args = append(cmd.Args, u.pastaArgs(pid)...)
		cmd.Stdout = told
	default:
		// By descriptor 4, because a socket's path has 107 bytes at most (unix(7)).
		cmd.Args = append(cmd.Args, "--configure", "--mtu=65520", "--disable-host-loopback", "--ready-fd=3", "--api-socket=/proc/self/fd/4/api",
			"--userns-path=/proc/"+strconv.Itoa(pid)+"/ns/user", strconv.Itoa(pid), "eth0")
		cmd.ExtraFiles = []*os.File{told, socket}
	}
	// The kernel kills the program when the thread that started it ends. So it
	// is a thread that does nothing else, and ends with this process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		chapter.Call(ctx, "a process plays the rest of the network, with an ordinary user's sockets", "execve(%q, %q)", path, cmd.Args)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(u.ended)
		}
	}()
	err = <-started
	told.Close()
	if err != nil {
		return fmt.Errorf("start %s: %w", u.Program, err)
	}
	u.process = cmd.Process

	defer context.AfterFunc(ctx, func() { ready.SetReadDeadline(time.Unix(1, 0)) })()
	if _, err := ready.Read(make([]byte, 16)); err == nil {
		return nil
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("wait for %s to set up eth0: %w", u.Program, errors.Join(ctx.Err(), err))
	}
	<-u.ended
	return fmt.Errorf("%s has ended (%s): %s", u.Program, cmd.ProcessState, u.output.String())
}

// pastaArgs are pasta's arguments (passt(1)).
func (u *UserStack) pastaArgs(pid int) []string {
	args := []string{
		"--quiet", "--foreground", "--config-net", "--ns-ifname", "eth0",
		// It writes its number when all is set up. Not to a further descriptor:
		// newer ones close those at their start.
		"--pid", "/dev/stdout",
		// The gateway's address is the gateway's, and not the host's localhost …
		"--no-map-gw",
		// … nor is the container's localhost.
		"--tcp-ns", "none", "--udp-ns", "none",
		"--dns-forward", u.Resolver.String(),
	}
	for _, protocol := range []string{"tcp", "udp"} {
		option, given := "--"+protocol+"-ports", false
		for _, p := range u.Ports {
			if p.Protocol != protocol {
				continue
			}
			spec := fmt.Sprintf("%d:%d", p.HostPort, p.ContainerPort)
			if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
				spec = p.HostIP.Unmap().String() + "/" + spec
			}
			args, given = append(args, option, spec), true
		}
		if !given {
			args = append(args, option, "none") // its default is every port that the container listens on
		}
	}
	return append(args, strconv.Itoa(pid))
}

// forward has slirp4netns lead a port in (slirp4netns(1), "API socket").
func forward(ctx context.Context, socket *os.File, p Port) error {
	path := fmt.Sprintf("/proc/self/fd/%d/api", socket.Fd())
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("publish %s: %w", p, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	address := "0.0.0.0"
	if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
		address = p.HostIP.Unmap().String()
	}
	request := map[string]any{
		"execute": "add_hostfwd",
		"arguments": map[string]any{
			"proto": p.Protocol, "host_addr": address, "host_port": p.HostPort, "guest_port": p.ContainerPort,
		},
	}
	chapter.Call(ctx, "slirp4netns listens there", "sendto(%q, add_hostfwd %s)", path, p)
	if err := json.NewEncoder(conn).Encode(request); err != nil {
		return fmt.Errorf("publish %s: %w", p, err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		return fmt.Errorf("publish %s: %w", p, err)
	}
	var reply struct {
		Error *struct {
			Desc string `json:"desc"`
		} `json:"error"`
	}
	if err := json.NewDecoder(conn).Decode(&reply); err != nil {
		return fmt.Errorf("publish %s: slirp4netns's answer: %w", p, err)
	}
	if reply.Error != nil {
		return fmt.Errorf("publish %s: slirp4netns: %s", p, reply.Error.Desc)
	}
	return nil
}

// endWithContainer kills the program when the container's first process ends:
// it holds the namespace, and neither notices nor minds that nobody is in it.
func (u *UserStack) endWithContainer() {
	raw, err := u.container.SyscallConn()
	if err != nil {
		return // closed
	}
	ended := false
	_ = raw.Read(func(fd uintptr) bool {
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			if !errors.Is(err, unix.EINTR) {
				ended = err == nil && n > 0
				return ended
			}
		}
	})
	if ended {
		_ = u.process.Kill()
	}
}

// Ended is closed when the program has ended, for whatever reason.
func (u *UserStack) Ended() <-chan struct{} { return u.ended }

// Close ends the program and waits for it. The container keeps its namespace,
// without a way out.
func (u *UserStack) Close() error {
	var err error
	if u.process != nil {
		if err = u.process.Kill(); errors.Is(err, os.ErrProcessDone) {
			err = nil
		}
		<-u.ended
	}
	return errors.Join(err, u.container.Close())
}

// tail keeps the end of what a program says.
type tail struct{ text []byte }

func (o *tail) Write(p []byte) (int, error) {
	o.text = append(o.text, p...)
	o.text = o.text[max(0, len(o.text)-2000):]
	return len(p), nil
}

func (o *tail) String() string {
	return strings.ReplaceAll(strings.TrimSpace(string(o.text)), "\n", "; ")
}
