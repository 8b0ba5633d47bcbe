//go:build linux

package namespaces

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/02-namespaces/seccomp"
)

// A filter is a container's system call filter. Create compiles it, so that
// the process itself needs no tables.
type filter struct {
	*seccomp.Filter
	profile *specs.LinuxSeccomp // what it was compiled from; stays with Create
}

// newFilter returns the filter of a profile, to be compiled; without a profile
// there is none.
func newFilter(profile *specs.LinuxSeccomp) *filter {
	if profile == nil {
		return nil
	}
	return &filter{profile: profile}
}

func (f *filter) compile() (err error) {
	if f != nil {
		f.Filter, err = seccomp.Compile(f.profile)
	}
	return err
}

// filterEarly loads the filter where that takes privilege: seccomp(2) demands
// CAP_SYS_ADMIN of a process that may gain privileges, since a set-user-ID
// program must not run under a filter that its caller chose. It is also the
// place for a listener, while Create is there to hand it over. The steps that
// follow are made under the filter.
func filterEarly(p *initProcess) error {
	if p.Seccomp == nil || p.filterLast() {
		return nil
	}
	listener, err := loadFilter(p)
	if err != nil || !p.Seccomp.Notifies() {
		return err
	}
	if err := p.out.Encode(message{Listener: listener}); err != nil {
		return fmt.Errorf("the process that created it is gone: %w", err)
	}
	_, err = p.hear()
	return err
}

// filterLate loads the filter with nothing but execve left to do, so that a
// profile need not allow more than the program needs.
func filterLate(p *initProcess) error {
	if p.Seccomp == nil || !p.filterLast() {
		return nil
	}
	_, err := loadFilter(p)
	return err
}

func (p *initProcess) filterLast() bool { return p.Process.NoNewPrivileges && !p.Seccomp.Notifies() }

// loadFilter gives the process its filter, for good, and to all that it will
// start. It returns the listener's descriptor where the filter has one.
func loadFilter(p *initProcess) (int, error) {
	f := p.Seccomp
	chapter.Call(p.ctx, "from here on the kernel asks this program about each system call, also about those of its children", "seccomp(SECCOMP_SET_MODE_FILTER, %s, {len=%d, filter=…})", filterFlags(f.Flags), f.Len())
	program := unix.SockFprog{Len: uint16(f.Len()), Filter: (*unix.SockFilter)(unsafe.Pointer(unsafe.SliceData(f.Program)))}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(f.Flags), uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return 0, os.NewSyscallError("seccomp(SECCOMP_SET_MODE_FILTER)", errno)
	}
	return int(fd), nil
}

// filterFlags writes flags of seccomp(2) by their names.
func filterFlags(flags uint) string {
	var names []string
	for i, name := range []string{"TSYNC", "LOG", "SPEC_ALLOW", "NEW_LISTENER", "TSYNC_ESRCH", "WAIT_KILLABLE_RECV"} {
		if flags&(1<<i) != 0 {
			names = append(names, "SECCOMP_FILTER_FLAG_"+name)
		}
	}
	if names == nil {
		return "0"
	}
	return strings.Join(names, "|")
}

// sendListener takes the listener, descriptor fd of the process, and sends it
// to the program that decides about calls, with a description of the container
// (runtime-spec, config-linux.md#containerprocessstate).
func (f *filter) sendListener(ctx context.Context, pid, fd int, state *specs.State) error {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(process)
	chapter.Call(ctx, "the process cannot send it: that may be one of the calls that wait for a decision", "pidfd_getfd(%d, %d, 0)", process, fd)
	listener, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_getfd", err)
	}
	defer unix.Close(listener)

	s := specs.ContainerProcessState{Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: pid, Metadata: f.profile.ListenerMetadata}
	if state != nil {
		s.State = *state
	}
	s.State.Pid, s.State.Status = pid, specs.StateCreating
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := f.profile.ListenerPath
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(socket)
	if err := unix.Connect(socket, &unix.SockaddrUnix{Name: path}); err != nil {
		return fmt.Errorf("linux.seccomp.listenerPath: failed to connect with seccomp agent: %w", &os.PathError{Op: "connect", Path: path, Err: err})
	}
	chapter.Call(ctx, "whoever has the listener decides about the calls that the filter leaves open", "sendmsg(%d, {SCM_RIGHTS, cmsg_data=[%d]}, MSG_NOSIGNAL)", socket, listener)
	if err := unix.Sendmsg(socket, text, unix.UnixRights(listener), nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("linux.seccomp.listenerPath: send the listener to %s: %w", path, os.NewSyscallError("sendmsg", err))
	}
	return nil
}
