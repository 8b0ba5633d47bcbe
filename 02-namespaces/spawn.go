//go:build linux

package namespaces

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// spawn makes the process, on a thread of its own: see [onOwnThread].
func spawn(ctx context.Context, p plan, files []*os.File, env []string, opt Options, ended <-chan struct{}) (proc *os.Process, err error) {
	self, err := openSelf(ctx, opt.Init)
	if err != nil {
		return nil, err
	}
	defer self.Close()
	start := func(cgroup *os.File) (err error) {
		if p.forks() {
			proc, err = forkInit(ctx, p, self, files, env, cgroup)
		} else {
			proc, err = cloneInit(ctx, p, self, files, env, cgroup)
		}
		return err
	}
	if opt.Spawn == nil && !opt.Bound && len(p.unshared) == 0 && (p.forks() || len(p.join) == 0) {
		// Nothing is done to the thread, and nobody waits for its end: any will do.
		err = start(opt.Cgroup)
		return proc, err
	}
	err = onOwnThread(ended, func() error {
		if err := unshareTime(ctx, p); err != nil {
			return err
		}
		if opt.Spawn != nil {
			return opt.Spawn(ctx, start)
		}
		return start(opt.Cgroup)
	})
	if err != nil && proc != nil {
		_ = proc.Kill()
		_, _ = proc.Wait()
	}
	return proc, err
}

// cloneInit makes the process as Go makes each: by a clone that borrows this
// process's memory until execve (CLONE_VFORK), which is the fastest way. The
// calling thread enters the namespaces that exist; its children are born there.
func cloneInit(ctx context.Context, p plan, self *os.File, files []*os.File, env []string, cgroup *os.File) (*os.Process, error) {
	join, closeJoin, err := p.openJoin()
	if err != nil {
		return nil, err
	}
	defer closeJoin()
	for i, j := range p.join {
		chapter.Call(ctx, "the "+string(j.name)+" namespace of "+j.path, "setns(%d, %s)", join[i].fd, j.text)
		if err := unix.Setns(join[i].fd, int(j.flag)); err != nil {
			return nil, fmt.Errorf("join the %s namespace: %w", j.name, &os.PathError{Op: "setns", Path: j.path, Err: err})
		}
	}
	flags, text := newFlags(p.clone)
	attr := &syscall.ProcAttr{Env: env, Sys: &syscall.SysProcAttr{Cloneflags: flags}}
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	if cgroup != nil {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(cgroup.Fd())
		text = append(text, "CLONE_INTO_CGROUP")
	}
	chapter.Call(ctx, "one process, born into all of its new namespaces at once", "clone(%s|SIGCHLD)", strings.Join(append(text, "CLONE_VFORK"), "|"))
	// By its descriptor, which is read-only: see openSelf.
	pid, err := syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", self.Fd()), []string{initName}, attr)
	runtime.KeepAlive(files)
	if err != nil {
		return nil, fmt.Errorf("clone into new namespaces (%s): %w", strings.Join(text, "|"), err)
	}
	// Not os.StartProcess: it tries out on a process of its own whether the kernel
	// has pidfds, and the new one would wait for that.
	return os.FindProcess(pid)
}

// forkInit makes the process by [fork].
func forkInit(ctx context.Context, p plan, self *os.File, files []*os.File, env []string, cgroup *os.File) (*os.Process, error) {
	// The user namespace is first in kinds: it gives an ordinary user the right
	// to enter the others. Root has that right, and would lose it there.
	if len(p.join) > 0 && p.join[0].name == specs.UserNamespace && os.Geteuid() == 0 {
		p.join = append(slices.Clone(p.join[1:]), p.join[0])
	}
	join, closeJoin, err := p.openJoin()
	if err != nil {
		return nil, err
	}
	defer closeJoin()
	flags, text := newFlags(p.clone)
	f := &fork{setns: join, flags: flags, cgroup: cgroup, program: self, argv: []string{initName}, env: env, files: files}
	if p.entersUser() {
		f.user = &p.first
	}
	if flags&unix.CLONE_NEWUSER != 0 {
		f.mapIDs = func(pid int) error { return mapIDs(ctx, pid, p.uids, p.gids) }
	}
	first := append([]string(nil), text...)
	if len(join) > 0 {
		first = nil
	}
	if cgroup != nil {
		first = append(first, "CLONE_INTO_CGROUP")
	}
	why := "one process, born into all of its new namespaces at once"
	if len(join) > 0 {
		why = "a process with one thread, which alone may enter what comes next"
	}
	chapter.Call(ctx, why, "clone3({flags=%s, exit_signal=SIGCHLD})", orZero(first))
	if p.target != nil {
		_, kinds := newFlags(p.joined)
		chapter.Call(ctx, "all namespaces of the process behind the pidfd, at once: the kernel knows the right order", "setns(%d, %s)", join[0].fd, orZero(kinds))
	}
	for i, j := range p.join {
		chapter.Call(ctx, "the "+string(j.name)+" namespace of "+j.path, "setns(%d, %s)", join[i].fd, j.text)
	}
	if len(join) > 0 {
		chapter.Call(ctx, "its sibling is born in the PID namespace, where it is not itself", "clone3({flags=%s})", orZero(append([]string{"CLONE_PARENT"}, text...)))
	}
	proc, err := f.start()
	switch {
	case err != nil && p.target != nil && errors.Is(err, unix.ESRCH):
		return nil, fmt.Errorf("join the namespaces: the process has ended: %w", err)
	case err != nil && len(join) > 0 && errors.Is(err, unix.ENOENT):
		return nil, fmt.Errorf("join the namespaces: %w: a program that is linked dynamically finds no libraries there: build it with CGO_ENABLED=0", err)
	case err != nil && len(join) > 0:
		return nil, fmt.Errorf("join the namespaces: %w", err)
	case err != nil:
		return nil, fmt.Errorf("clone into new namespaces (%s): %w", strings.Join(text, "|"), err)
	}
	return proc, nil
}

// openJoin opens the namespaces that the process enters.
func (p plan) openJoin() (join []namespaceFile, closeAll func(), err error) {
	var opened []int
	closeAll = func() {
		for _, fd := range opened {
			unix.Close(fd)
		}
	}
	if p.target != nil {
		flags, _ := newFlags(p.joined)
		join = append(join, namespaceFile{int(p.target.Fd()), flags})
	}
	for _, j := range p.join {
		fd, err := unix.Open(j.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("join the %s namespace: %w", j.name, &os.PathError{Op: "open", Path: j.path, Err: err})
		}
		opened = append(opened, fd)
		join = append(join, namespaceFile{fd, j.flag})
	}
	return join, closeAll, nil
}

// newFlags returns the kinds' flags, and as strace prints them.
func newFlags(list []kind) (flags uintptr, text []string) {
	for _, k := range list {
		flags |= k.flag
		text = append(text, k.text)
	}
	return flags, text
}

func orZero(flags []string) string {
	if len(flags) == 0 {
		return "0"
	}
	return strings.Join(flags, "|")
}

// unshareTime makes the time namespace that the calling thread's children will
// have, and sets its clocks (time_namespaces(7)).
func unshareTime(ctx context.Context, p plan) error {
	for _, k := range p.unshared {
		chapter.Call(ctx, "for its children: a process cannot change its own clock", "unshare(%s)", k.text)
		if err := unix.Unshare(int(k.flag)); err != nil {
			err = os.NewSyscallError("unshare("+k.text+")", err)
			if errors.Is(err, unix.EPERM) {
				err = fmt.Errorf("a time namespace is made before the user namespace, with the caller's own privilege: %w", err)
			}
			return err
		}
		if err := setTimeOffsets(ctx, p.offsets); err != nil {
			return err
		}
	}
	return nil
}

func setTimeOffsets(ctx context.Context, offsets map[string]specs.LinuxTimeOffset) error {
	// The thread's own directory: /proc/self is that of the process's first thread, and /proc/thread-self lacks the file.
	file := fmt.Sprintf("/proc/%d/timens_offsets", unix.Gettid())
	for clock, o := range offsets {
		line := fmt.Sprintf("%s %d %d", clock, o.Secs, o.Nanosecs)
		chapter.Call(ctx, "the offset that its clock has to the host's", "write(%q, %q)", file, line)
		if err := os.WriteFile(file, []byte(line), 0); err != nil {
			return fmt.Errorf("write %q to %s: %w", line, file, err)
		}
	}
	return nil
}
