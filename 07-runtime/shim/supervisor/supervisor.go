//go:build linux

package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/explain"
	cgroups "drydock.example/03-cgroups"
	overlayfs "drydock.example/04-overlayfs"
	"drydock.example/07-runtime/shim"
)

const chapter explain.Chapter = 7

// A supervisor stands behind one container.
type supervisor struct {
	dir      string
	conf     shim.Config
	children *children
	streams  *streams

	created chan struct{} // closed when create has succeeded or failed
	failed  error         // why create failed; to be read after created
	gone    chan struct{} // closed when nothing of the container is left
	exit    shim.Exit     // to be read after gone

	starting sync.RWMutex // held while the runtime starts the container, for reading while it executes further processes

	mu     sync.Mutex
	status shim.Status
	pidfd  int // of the first process; -1 when it has been reaped
	execs  map[string]*process
}

// Run supervises the container whose directory is dir, until it has ended. The
// error is of the shim itself: how the container ended stands in its exit file.
func Run(ctx context.Context, dir string) error {
	s := &supervisor{
		dir:     dir,
		created: make(chan struct{}),
		gone:    make(chan struct{}),
		pidfd:   -1,
		execs:   map[string]*process{},
	}
	// It ends when its container ends, and for no other reason. The signals are caught and
	// dropped: one that is ignored stays so through execve, and Ctrl-C would do nothing in
	// the container.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE)
	if err := closeStrangers(); err != nil {
		return err
	}
	listener, err := inheritedListener()
	if err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(dir, shim.ConfigFile))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &s.conf); err != nil {
		return fmt.Errorf("%s: %w", shim.ConfigFile, err)
	}
	// Relative names from here on: a socket's path may have only 107 bytes.
	if err := os.Chdir(dir); err != nil {
		return err
	}
	if s.streams, err = newStreams(s.conf, consoleSocket); err != nil {
		return err
	}
	s.children = collectChildren()
	// Launch asked its question before this program ran. It is taken up before
	// anything can fail, so that a failure has somebody to be told to.
	launcher, err := listener.AcceptUnix()
	if err != nil {
		return err
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.serve(ctx, listener, launcher)
	}()

	ended, err := s.create(ctx)
	s.failed = err
	close(s.created)
	if err == nil {
		s.finish(ctx, <-ended)
	}
	s.streams.close()
	close(s.gone)

	// No new request from here on; those that wait get their answer, and
	// attached clients their last byte.
	os.Remove(shim.SocketFile)
	listener.SetDeadline(time.Now())
	<-served
	return nil
}

// closeStrangers closes what the engine's process happened to have open without
// close-on-exec, from whoever started it: a shim that kept the other end of
// somebody's pipe would keep it from ending. What this program opened itself
// closes on exec, and what [shim.Launch] hands over is known by its number.
func closeStrangers() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= shim.NarrationFD {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
	return nil
}

func inheritedListener() (*net.UnixListener, error) {
	unix.CloseOnExec(shim.SocketFD)
	f := os.NewFile(shim.SocketFD, "shim.sock")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d is not the listening socket that shim.Launch hands over: %w", shim.SocketFD, err)
	}
	return l.(*net.UnixListener), nil
}

// create makes the container and returns the channel on which the end of its
// first process is told.
func (s *supervisor) create(ctx context.Context) (<-chan syscall.WaitStatus, error) {
	chapter.Call(ctx, "orphans of the container become children of the shim, and so does its first process, whose exit status only a parent gets",
		"prctl(PR_SET_CHILD_SUBREAPER, 1)")
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, os.NewSyscallError("prctl(PR_SET_CHILD_SUBREAPER)", err)
	}
	if err := s.mount(ctx); err != nil {
		return nil, err
	}
	ended, pid, err := s.runtimeCreate(ctx)
	if err != nil {
		s.unmount(ctx)
		return nil, err
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError(fmt.Sprintf("pidfd_open(%d)", pid), err)
	}
	s.mu.Lock()
	s.pidfd, s.status.Pid = pidfd, pid
	s.mu.Unlock()
	return ended, nil
}

// mount gives the container its root file system and its network namespace, in
// the mount namespace of the shim, where they end with it.
func (s *supervisor) mount(ctx context.Context) error {
	chapter.Call(ctx, "the host's later mounts and unmounts arrive here, ours do not reach the host", "mount(NULL, \"/\", NULL, MS_REC|MS_SLAVE, NULL)")
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return &os.PathError{Op: "mount MS_SLAVE", Path: "/", Err: err}
	}
	if s.conf.Network {
		unix.CloseOnExec(shim.NetworkFD)
		source := fmt.Sprintf("/proc/self/fd/%d", shim.NetworkFD)
		if err := os.WriteFile(shim.NetworkFile, nil, 0o600); err != nil {
			return err
		}
		chapter.Call(ctx, "the network namespace gets a path that any runtime can join", "mount(%q, %q, NULL, MS_BIND, NULL)", source, filepath.Join(s.dir, shim.NetworkFile))
		if err := unix.Mount(source, shim.NetworkFile, "", unix.MS_BIND, ""); err != nil {
			return &os.PathError{Op: "mount MS_BIND", Path: source, Err: err}
		}
	}
	if r := s.conf.Rootfs; r != nil {
		target := filepath.Join(s.dir, shim.RootfsDir)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := overlayfs.Mount(ctx, target, r.Lower, r.Upper, r.Work, r.ReadOnly); err != nil {
			return err
		}
	}
	return nil
}

// unmount is mount's undo. The namespace's end would do it as well, but a
// container that is started again mounts the same upper directory, and must
// not meet the old mount.
func (s *supervisor) unmount(ctx context.Context) {
	if s.conf.Rootfs != nil {
		s.complain(overlayfs.Unmount(ctx, filepath.Join(s.dir, shim.RootfsDir)))
	}
}

// finish does what is due when the first process has ended.
func (s *supervisor) finish(ctx context.Context, how syscall.WaitStatus) {
	exit := exitOf(how)
	s.mu.Lock()
	unix.Close(s.pidfd)
	s.pidfd = -1
	s.mu.Unlock()

	if s.conf.SharedPIDs {
		// The kernel ends the others only where a PID namespace ends with the first.
		s.complain(s.runtime(ctx, "what the first process left running goes too", nil, "kill", "--all", s.conf.ID, "KILL"))
	}
	s.streams.drain(drainTime)
	exit.OOMKilled = s.oomKilled()
	s.starting.Lock() // a start that is under way would find half of it deleted
	defer s.starting.Unlock()
	s.complain(s.record(ctx, exit))
	s.complain(s.runtime(ctx, "the runtime removes its state and the cgroup", nil, "delete", "--force", s.conf.ID))
	s.unmount(ctx)
	s.exit = exit
}

// oomKilled asks the cgroup, while it is there.
func (s *supervisor) oomKilled() bool {
	if s.conf.Cgroup == "" {
		return false
	}
	c, err := cgroups.Load(s.conf.Cgroup)
	if err != nil {
		return false
	}
	n, err := c.OOMKills()
	return err == nil && n > 0
}

// record writes the exit file. It is what an engine that was not there will
// read, perhaps after a power cut, so it is on disk before it has its name.
func (s *supervisor) record(ctx context.Context, exit shim.Exit) error {
	b, err := json.Marshal(exit)
	if err != nil {
		return err
	}
	chapter.Call(ctx, "how it ended, for an engine that may not be running now", "rename(%q, %q)", s.conf.Exit+".tmp", s.conf.Exit)
	f, err := os.OpenFile(s.conf.Exit+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(s.conf.Exit+".tmp", s.conf.Exit)
}

// complain writes to the shim's own log, which is its standard error.
func (s *supervisor) complain(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s %v\n", time.Now().UTC().Format(time.RFC3339Nano), err)
	}
}
