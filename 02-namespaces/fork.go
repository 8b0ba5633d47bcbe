//go:build linux

package namespaces

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The three functions that package syscall calls around its own fork. They
// block the calling thread's signals, so that no handler runs in a child that
// has no Go runtime, and make every attempt to grow the stack there a crash.
// Go's linker lets packages outside of its library use them.
//
//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// A fork is a process that os.StartProcess cannot make, because something must
// happen between fork and execve that only a process with one thread can do:
// setns(2) into a user, mount or time namespace, or that must wait for what is
// done from outside: the mappings of a new user namespace.
type fork struct {
	setns   []namespaceFile
	flags   uintptr             // CLONE_NEW… of the process
	cgroup  *os.File            // cgroup v2 directory in which it is born, or nil
	mapIDs  func(pid int) error // writes the mappings of its new user namespace; nil: there are none
	user    *ids                // who it becomes in its user namespace; nil: it stays who it is
	bound   bool                // it dies with the thread that calls start
	program *os.File            // executed by its descriptor: its path means nothing in another mount namespace
	argv    []string
	env     []string
	files   []*os.File // its descriptors, from 0 on
}

// ids are a user and a group of a user namespace: 0 and 0, whose capabilities
// execve leaves alone, or, where those do not exist, others, who keep theirs as
// ambient ones (capabilities(7)).
type ids struct{ uid, gid uint32 }

// A namespaceFile is what setns(2) takes: a namespace, or a pidfd and all the
// namespaces that are meant.
type namespaceFile struct {
	fd    int
	flags uintptr
}

// start makes the process, a child of the calling thread, and returns when it
// has executed its program.
//
// Where namespaces are entered, two processes are made. The first enters them.
// Only its children are in the PID namespace that it enters, not itself
// (pid_namespaces(7)), so it makes the second, as its sibling, and ends.
func (f *fork) start() (*os.Process, error) {
	c, err := f.child()
	if err != nil {
		return nil, err
	}
	defer c.close()
	// The lock keeps others of this process from forking now: their children
	// would hold our pipe, and we wait for its end.
	syscall.ForkLock.Lock()
	first, errno := c.fork()
	syscall.ForkLock.Unlock()
	unix.Close(c.report)
	c.report = -1
	if errno != 0 {
		return nil, os.NewSyscallError("clone3", errno)
	}
	pid := 0
	if c.once {
		pid = int(first)
		err = f.admit(c, pid)
	}
	for err == nil {
		var r report
		if r, err = c.hear(); err == io.EOF {
			err = nil
			break
		}
		switch {
		case err != nil:
		case r.stage == stageBorn:
			pid = int(r.value)
			err = f.admit(c, pid)
		default:
			err = os.NewSyscallError(stages[r.stage], syscall.Errno(r.value))
		}
	}
	if !c.once {
		err = errors.Join(err, reap(int(first)))
		// What it told before it ended has been read, or is read now: the second process must not be lost.
		for r, e := c.hear(); pid == 0 && e == nil; r, e = c.hear() {
			if r.stage == stageBorn {
				pid = int(r.value)
			}
		}
	}
	if pid == 0 {
		return nil, err
	}
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		_ = reap(pid)
		return nil, err
	}
	return os.FindProcess(pid)
}

// admit writes the mappings of the process and lets it go on.
func (f *fork) admit(c *child, pid int) error {
	if f.mapIDs == nil {
		return nil
	}
	if err := f.mapIDs(pid); err != nil {
		return err
	}
	_, err := unix.Write(c.admit, []byte{1})
	return os.NewSyscallError("write", err)
}

// reap waits for the end of a child.
func reap(pid int) error {
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(pid, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return os.NewSyscallError("wait4", err)
		case status.Signaled():
			return fmt.Errorf("the process that enters the namespaces was killed: %v", status.Signal())
		default:
			return nil
		}
	}
}

// A child is a fork in the form that the kernel takes, without anything that
// would have to be allocated, locked or looked up: see [child.fork].
type child struct {
	once          bool // no namespaces are entered: there is one process only
	setns         []namespaceFile
	first, second cloneArgs
	become, bound bool
	uid, gid      uintptr
	header        unix.CapUserHeader
	capabilities  [2]unix.CapUserData // all: the namespace's own are the most that there are
	parent        uintptr             // its creator, while that lives
	files         []int               // none is below len(files)
	program       int
	argv, env     []*byte
	empty         *byte

	reports, report int // ends of the pipe that tells what happened; execve closes the second one
	admit, gate     int // ends of the pipe at which the process waits for its mappings, or -1
	said            report
	dups            []int
}

// cloneArgs is struct clone_args of clone3(2).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// report is what a child tells its creator: how far it came, and the errno.
type report struct{ stage, value uint32 }

const (
	stageBorn = iota // value is the second process's id
	stageDumpable
	stageSetns
	stageClone
	stageGate
	stageGroup
	stageUser
	stageCapset
	stageAmbient
	stageBound
	stageDup
	stageExec
)

var stages = [...]string{"", "prctl(PR_SET_DUMPABLE)", "setns", "clone3", "read", "setresgid", "setresuid", "capset", "prctl(PR_CAP_AMBIENT)", "prctl(PR_SET_PDEATHSIG)", "dup3", "execveat"}

// child prepares all that the child needs, as it can prepare nothing itself.
func (f *fork) child() (c *child, err error) {
	c = &child{once: len(f.setns) == 0, become: f.user != nil, bound: f.bound, parent: uintptr(os.Getpid()), reports: -1, report: -1, admit: -1, gate: -1, empty: new(byte)}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if f.user != nil {
		c.uid, c.gid = uintptr(f.user.uid), uintptr(f.user.gid)
		c.header.Version = unix.LINUX_CAPABILITY_VERSION_3
		for i := range c.capabilities {
			c.capabilities[i] = unix.CapUserData{Effective: ^uint32(0), Permitted: ^uint32(0), Inheritable: ^uint32(0)}
		}
	}
	if c.argv, err = syscall.SlicePtrFromStrings(f.argv); err != nil {
		return nil, err
	}
	if c.env, err = syscall.SlicePtrFromStrings(f.env); err != nil {
		return nil, err
	}
	// Copies with high numbers, so that no descriptor is overwritten when they get their final ones.
	above := func(fd int) (int, error) {
		n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, len(f.files))
		if err != nil {
			return -1, os.NewSyscallError("fcntl(F_DUPFD_CLOEXEC)", err)
		}
		c.dups = append(c.dups, n)
		return n, nil
	}
	for _, file := range f.files {
		fd, err := above(int(file.Fd()))
		if err != nil {
			return nil, err
		}
		c.files = append(c.files, fd)
	}
	for _, ns := range f.setns {
		if ns.fd, err = above(ns.fd); err != nil {
			return nil, err
		}
		c.setns = append(c.setns, ns)
	}
	if c.program, err = above(int(f.program.Fd())); err != nil {
		return nil, err
	}
	if c.reports, c.report, err = pipe(len(f.files)); err != nil {
		return nil, err
	}
	if f.mapIDs != nil {
		if c.gate, c.admit, err = pipe(len(f.files)); err != nil {
			return nil, err
		}
	}
	c.second = cloneArgs{flags: uint64(f.flags) | unix.CLONE_PARENT}
	if c.once {
		c.first.flags = uint64(f.flags)
	}
	c.first.exitSignal = uint64(unix.SIGCHLD) // the second process inherits it
	if f.cgroup != nil {
		c.first.flags |= unix.CLONE_INTO_CGROUP
		c.first.cgroup = uint64(f.cgroup.Fd())
	}
	return c, nil
}

// pipe returns the read and the write end, both numbered from least on.
func pipe(least int) (r, w int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, os.NewSyscallError("pipe2", err)
	}
	for i, fd := range p {
		if fd >= least {
			continue
		}
		if p[i], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, least); err != nil {
			return -1, -1, os.NewSyscallError("fcntl(F_DUPFD_CLOEXEC)", err)
		}
		unix.Close(fd)
	}
	return p[0], p[1], nil
}

func (c *child) close() {
	for _, fd := range append(c.dups, c.reports, c.report, c.admit, c.gate) {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// hear returns the child's next report, and io.EOF when it has executed its
// program or ended.
func (c *child) hear() (report, error) {
	var b [unsafe.Sizeof(report{})]byte
	n, err := unix.Read(c.reports, b[:])
	for err == unix.EINTR {
		n, err = unix.Read(c.reports, b[:])
	}
	switch {
	case err != nil:
		return report{}, os.NewSyscallError("read", err)
	case n == 0:
		return report{}, io.EOF
	}
	return report{binary.NativeEndian.Uint32(b[:4]), binary.NativeEndian.Uint32(b[4:])}, nil
}

// fork makes the first process. What stands below clone3 is executed by a
// process that has one thread, a copy of this one's memory, and no Go runtime:
// a lock that another thread held is held forever, and nobody moves a stack or
// collects garbage. So it makes raw system calls and nothing else: no
// allocation, no pointer is written, and each function it calls is nosplit.
//
//go:noinline
//go:norace
//go:nocheckptr
func (c *child) fork() (pid uintptr, errno syscall.Errno) {
	var i int
	var n uintptr
	beforeFork()
	pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&c.first)), unsafe.Sizeof(c.first), 0, 0, 0, 0)
	if pid != 0 || errno != 0 {
		afterFork()
		return pid, errno
	}
	afterForkInChild()

	if !c.once {
		// The copy of the creator's memory is not for the eyes of those who live where it goes.
		c.said.stage = stageDumpable
		if _, _, errno = syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0, 0); errno != 0 {
			goto failed
		}
		c.said.stage = stageSetns
		for i = range c.setns {
			if _, _, errno = syscall.RawSyscall6(unix.SYS_SETNS, uintptr(c.setns[i].fd), c.setns[i].flags, 0, 0, 0, 0); errno != 0 {
				goto failed
			}
		}
		c.said.stage = stageClone
		pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&c.second)), unsafe.Sizeof(c.second), 0, 0, 0, 0)
		if errno != 0 {
			goto failed
		}
		if pid != 0 {
			c.said.stage, c.said.value = stageBorn, uint32(pid)
			goto tell
		}
	}
	if c.gate >= 0 {
		c.said.stage = stageGate
		// The copy of the other end: with it, nobody would hear of the creator's death.
		syscall.RawSyscall6(unix.SYS_CLOSE, uintptr(c.admit), 0, 0, 0, 0, 0)
		if n, _, errno = syscall.RawSyscall6(unix.SYS_READ, uintptr(c.gate), uintptr(unsafe.Pointer(&c.said.value)), 1, 0, 0, 0); errno != 0 {
			goto failed
		}
		if n == 0 {
			goto leave
		}
	}
	if c.become {
		c.said.stage = stageGroup
		if _, _, errno = syscall.RawSyscall6(unix.SYS_SETRESGID, c.gid, c.gid, c.gid, 0, 0, 0); errno != 0 {
			goto failed
		}
		c.said.stage = stageUser
		if _, _, errno = syscall.RawSyscall6(unix.SYS_SETRESUID, c.uid, c.uid, c.uid, 0, 0, 0); errno != 0 {
			goto failed
		}
	}
	if c.become && c.uid != 0 {
		c.said.stage = stageCapset
		if _, _, errno = syscall.RawSyscall6(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&c.header)), uintptr(unsafe.Pointer(&c.capabilities[0])), 0, 0, 0, 0); errno != 0 {
			goto failed
		}
		c.said.stage = stageAmbient
		for n = 0; errno != syscall.EINVAL; n++ { // which is above the last one
			if _, _, errno = syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, n, 0, 0, 0); errno != 0 && errno != syscall.EINVAL {
				goto failed
			}
		}
	}
	if c.bound {
		// After the change of user, which would clear it. A creator that has died before is another parent now.
		c.said.stage = stageBound
		if _, _, errno = syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0); errno != 0 {
			goto failed
		}
		if n, _, _ = syscall.RawSyscall6(unix.SYS_GETPPID, 0, 0, 0, 0, 0, 0); n != c.parent {
			goto leave
		}
	}
	c.said.stage = stageDup
	for i = range c.files {
		if _, _, errno = syscall.RawSyscall6(unix.SYS_DUP3, uintptr(c.files[i]), uintptr(i), 0, 0, 0, 0); errno != 0 {
			goto failed
		}
	}
	c.said.stage = stageExec
	_, _, errno = syscall.RawSyscall6(unix.SYS_EXECVEAT, uintptr(c.program), uintptr(unsafe.Pointer(c.empty)),
		uintptr(unsafe.Pointer(&c.argv[0])), uintptr(unsafe.Pointer(&c.env[0])), unix.AT_EMPTY_PATH, 0)
failed:
	c.said.value = uint32(errno)
tell:
	syscall.RawSyscall6(unix.SYS_WRITE, uintptr(c.report), uintptr(unsafe.Pointer(&c.said)), unsafe.Sizeof(c.said), 0, 0, 0)
leave:
	for {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
	}
}
