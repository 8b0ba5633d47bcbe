//go:build linux

package namespaces

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/explain"
)

// A step is one thing that must happen inside the container before the user's
// program runs.
type step struct {
	name string
	do   func(*initProcess) error
}

// steps are all of them, in their order. An error carries the step's name.
//
// The order has reasons. The mounts come before pivot_root, because the bind
// sources lie outside. What needs privilege comes before the change of user,
// what drops privilege after it. The program is looked for last, by the user
// and in the root that it will have. The system call filter has two places:
// the last one, or, where loading it takes privilege, before that is dropped.
var steps = []step{
	{"session", newSession},
	{"keyring", newKeyring},
	{"cgroup", enterCgroup},
	{"cgroup namespace", newCgroupNamespace},
	{"loopback", raiseLoopback},
	{"propagation", receiveOnly},
	{"root", bindRoot},
	{"mounts", mountAll},
	{"devices", makeDevices},
	{"working directory", makeDirectory},
	{"masked paths", maskPaths},
	{"read-only paths", readonlyPaths},
	{"hooks", createHooks},
	{"pivot_root", changeRoot},
	{"procfs", openProcfs},
	{"console", openConsole},
	{"host name", setNames},
	{"sysctl", setSysctls},
	{"read-only root", sealRoot},
	{"limits", setLimits},
	{"scheduling", setScheduling},
	{"memory policy", setMemoryPolicy},
	{"personality", setPersonality},
	{"environment", setEnvironment},
	{"labels", setLabels},
	{"descriptors", closeDescriptors},
	{"seccomp", filterEarly},
	{"user", becomeUser},
	{"capabilities", limitCapabilities},
	{"no new privileges", noNewPrivileges},
	{"change directory", changeDirectory},
	{"program", findProgram},
	{"wait", waitForStart},
	{"start hooks", startHooks},
	{"signals", defaultSignals},
	{"seccomp", filterLate},
	{"execve", execute},
}

// initProcess is the process between clone and execve.
type initProcess struct {
	*setup
	ctx context.Context
	in  decoder
	out encoder

	warnings []string // what was asked for, is not essential, and could not be had

	root    int            // descriptor of the new root directory
	kernel  map[string]int // descriptors of the new procfs and sysfs, by their places below the root
	proc    int            // descriptor of a procfs: see [openProcfs]
	program string         // the path that execve gets
}

// In the process that Create made, init does all that is left to do and executes
// the user's program, so main is never reached; elsewhere it does nothing.
//
// Credentials, capabilities and namespaces are those of a thread, so all steps
// must happen on one. The functions named init do: they run on the process's
// first thread (package runtime, LockOSThread), while main would have to lock
// itself to one, and have another thread made for that.
func init() {
	switch os.Args[0] {
	case initName:
	case reaperName:
		os.Exit(runReaper(os.Args[1:]))
	default:
		return
	}
	fd, err := strconv.Atoi(os.Getenv(envSocket))
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s is not for use by hand\n", initName)
		os.Exit(1)
	}
	unix.CloseOnExec(fd)
	conn := os.NewFile(uintptr(fd), "init socket")
	p := &initProcess{in: decoder{bufio.NewReader(conn)}, out: encoder{conn}, root: -1, proc: -1}
	p.ctx, _ = explain.FromEnv(context.Background())
	err = p.run()
	if p.out.Encode(failure(err)) != nil {
		// Create's process is gone, since it started us through a fifo: the program's own stderr is what is left.
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(1)
}

func (p *initProcess) run() error {
	m, err := p.hear()
	if err != nil {
		return err
	}
	p.setup = m.Setup
	if p.Root == nil {
		// It is in a container where others run already: they may not look into it.
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
			return os.NewSyscallError("prctl(PR_SET_DUMPABLE)", err)
		}
	}
	for _, s := range steps {
		if err := s.do(p); err != nil {
			if kinded(err) {
				return err // ErrNotFound and ErrNotExecutable have the words that users know
			}
			return fmt.Errorf("container init: %s: %w", s.name, err)
		}
	}
	return nil
}

// hear returns Create's next message. The end of the stream means that the
// creator has died: there is nobody left to work for.
func (p *initProcess) hear() (message, error) {
	var m message
	if err := p.in.Decode(&m); err != nil {
		return m, fmt.Errorf("container init: the process that created it is gone: %w", err)
	}
	return m, nil
}

func kinded(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrNotExecutable)
}

func failure(err error) message {
	return message{Error: err.Error(), NotFound: errors.Is(err, ErrNotFound), NotExec: errors.Is(err, ErrNotExecutable)}
}

// newSession leaves the creator's session, and with it its controlling terminal.
func newSession(p *initProcess) error {
	chapter.Call(p.ctx, "a session of its own: no terminal of the creator, no signals of its job", "setsid()")
	_, err := unix.Setsid()
	return os.NewSyscallError("setsid", err)
}

// enterCgroup moves this thread, which is the one that will execute the user's
// program, into a cgroup of v1. To be moved by another process would take until
// every processor has seen that nobody forks, some 10 ms; a thread that moves
// itself has no need of that lock (cgroup_procs_write_start in
// kernel/cgroup/cgroup.c). Its right to do so is that of whoever opened the file.
func enterCgroup(p *initProcess) error {
	for _, fd := range p.Tasks {
		chapter.Call(p.ctx, "into the cgroup, in one more hierarchy of v1", "write(%d, \"0\", 1)", fd)
		_, err := unix.Write(fd, []byte{'0'})
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			return fmt.Errorf("write 0 to a tasks file: %w", err)
		}
	}
	return nil
}

// newCgroupNamespace takes the cgroup in which the process is now as the root
// of what it will see. Until now it was in its creator's: that is why clone
// did not make this one.
func newCgroupNamespace(p *initProcess) error {
	if !isNew(p.Namespaces, specs.CgroupNamespace) {
		return nil
	}
	chapter.Call(p.ctx, "its own cgroup becomes the root of the cgroups that it sees", "unshare(CLONE_NEWCGROUP)")
	return os.NewSyscallError("unshare(CLONE_NEWCGROUP)", unix.Unshare(unix.CLONE_NEWCGROUP))
}

// raiseLoopback brings up lo, which is down in a new network namespace.
func raiseLoopback(p *initProcess) error {
	if !isNew(p.Namespaces, specs.NetworkNamespace) {
		return nil
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	chapter.Call(p.ctx, "a new network namespace has one link, and it is down", "ioctl(%d, SIOCSIFFLAGS, {ifr_name=\"lo\", ifr_flags=IFF_UP|IFF_RUNNING})", s)
	return os.NewSyscallError("ioctl(SIOCSIFFLAGS)", unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo))
}

// setNames gives the UTS namespace its names.
func setNames(p *initProcess) error {
	if name := p.Hostname; name != "" {
		chapter.Call(p.ctx, "a name that the host does not see", "sethostname(%q, %d)", name, len(name))
		if err := unix.Sethostname([]byte(name)); err != nil {
			return fmt.Errorf("set %q: %w", name, os.NewSyscallError("sethostname", err))
		}
	}
	if name := p.Domainname; name != "" {
		chapter.Call(p.ctx, "its NIS domain name", "setdomainname(%q, %d)", name, len(name))
		if err := unix.Setdomainname([]byte(name)); err != nil {
			return fmt.Errorf("set %q: %w", name, os.NewSyscallError("setdomainname", err))
		}
	}
	return nil
}

// waitForStart tells Create that everything is ready, and waits: this is the
// gap between create and start.
func waitForStart(p *initProcess) error {
	if err := p.out.Encode(message{Ready: true, Warnings: p.warnings}); err != nil {
		return fmt.Errorf("the process that created it is gone: %w", err)
	}
	if p.Fifo == 0 {
		_, err := p.hear()
		return err
	}
	// The fifo's read end was opened without a writer, so it has no end of file before the first one comes.
	chapter.Call(p.ctx, "the gap between create and start: wait until someone writes to the fifo", "poll([{fd=%d, events=POLLIN}], 1, -1)", p.Fifo)
	fifo := []unix.PollFd{{Fd: int32(p.Fifo), Events: unix.POLLIN}}
	_, err := unix.Poll(fifo, -1)
	for err == unix.EINTR {
		_, err = unix.Poll(fifo, -1)
	}
	if err != nil {
		return os.NewSyscallError("poll", err)
	}
	if n, err := unix.Read(p.Fifo, make([]byte, 1)); n != 1 {
		return fmt.Errorf("whoever opened the start fifo wrote nothing to it: %w", cmp.Or(err, io.ErrUnexpectedEOF))
	}
	return nil
}

// execute becomes the user's program, or the reaper that starts it. The threads
// of this one, and every descriptor of ours, end here.
func execute(p *initProcess) error {
	if p.Reaper {
		return becomeReaper(p)
	}
	args := p.Process.Args
	chapter.Call(p.ctx, "from here on it is the user's program", "execve(%q, %q, /* %d vars */)", p.program, args, len(p.Process.Env))
	err := syscall.Exec(p.program, args, p.Process.Env)
	return &initError{fmt.Sprintf("exec %s: %v", p.program, err), ErrNotExecutable}
}
