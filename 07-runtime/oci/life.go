//go:build linux

package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	namespaces "drydock.example/02-namespaces"
	cgroups "drydock.example/03-cgroups"
)

// endTime is how long the end of killed processes is waited for. Only a process
// that hangs in the kernel takes so long.
const endTime = 10 * time.Second

// Start lets the process of a created container execute its program. With a
// notification socket it returns when the program has said that it is ready,
// or has ended, and passes the word on.
func (r Runtime) Start(ctx context.Context, id, notifySocket string) error {
	c, err := r.hold(id)
	if c != nil {
		defer c.release()
	}
	if err != nil {
		return err
	}
	switch status := c.status(); status {
	case specs.StateCreated:
	case specs.StateRunning:
		return ErrRunning
	case specs.StateStopped:
		return ErrStopped
	default:
		return fmt.Errorf("cannot start a container in the %s state: %w", status, errdefs.ErrFailedPrecondition)
	}
	if c.NoProcess {
		return ErrNoProcess
	}
	var n *notification
	if notifySocket != "" && c.Notify {
		if n, err = c.listenNotify(notifySocket); err != nil {
			return err
		}
		defer n.close()
	}
	err = namespaces.Start(ctx, c.fifo())
	if err != nil && !errors.Is(err, namespaces.ErrNotWaiting) {
		return err
	}
	// Nobody waits: whoever started it was killed before this line.
	if removeErr := os.Remove(c.fifo()); removeErr != nil {
		return removeErr
	}
	if err != nil {
		return ErrRunning
	}
	if err := c.started(ctx); err != nil {
		return err
	}
	if err := c.poststart(ctx); err != nil || n == nil {
		return err
	}
	c.release()
	return n.relay(ctx, c)
}

// started sets the limits under which the process could not have been prepared.
func (c *container) started(ctx context.Context) error {
	if c.Pids == nil || !c.CgroupMade {
		return nil
	}
	cgroup, err := cgroups.Load(c.Cgroup)
	if errdefs.IsNotFound(err) {
		return nil // the program has ended, and somebody was quick to delete it
	}
	if err != nil {
		return err
	}
	return cgroup.Started(ctx, &specs.LinuxResources{Pids: c.Pids})
}

// poststart runs the hooks that see the container running.
func (c *container) poststart(ctx context.Context) error {
	return namespaces.RunHooks(ctx, "poststart", c.Poststart, c.hookState(c.Pid, specs.StateRunning))
}

// Signal sends a signal to the container's first process, or to all of its
// processes; the latter also when the first has ended.
func (r Runtime) Signal(ctx context.Context, id string, signal unix.Signal, all bool) error {
	c, err := r.look(id)
	if err != nil {
		return err
	}
	if all {
		return c.signalAll(ctx, signal)
	}
	if signal == unix.SIGKILL && c.CgroupMade {
		if alone, err := c.ownPIDs(); err != nil {
			return err
		} else if !alone {
			return c.killAll(ctx)
		}
	}
	pidfd, err := c.open()
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	chapter.Call(ctx, "by descriptor: the process id may be a stranger's by now", "pidfd_send_signal(%d, %s, NULL, 0)", pidfd, unix.SignalName(signal))
	if err := unix.PidfdSendSignal(pidfd, signal, nil, 0); err == unix.ESRCH {
		return ErrNotRunning
	} else if err != nil {
		return fmt.Errorf("send signal %d to process %d: %w", signal, c.Pid, err)
	}
	if signal == unix.SIGKILL {
		return c.thaw(ctx)
	}
	return nil
}

// open returns a pidfd of the first process.
func (c *container) open() (int, error) {
	if c.Pid == 0 {
		return -1, ErrNotRunning
	}
	fd, err := unix.PidfdOpen(c.Pid, 0)
	if err == unix.ESRCH || err == unix.EINVAL {
		return -1, ErrNotRunning
	}
	if err != nil {
		return -1, os.NewSyscallError("pidfd_open", err)
	}
	// The descriptor holds the process; that it is the right one can be seen only now.
	if startTime(c.Pid) != c.StartTime {
		unix.Close(fd)
		return -1, ErrNotRunning
	}
	return fd, nil
}

// ownPIDs reports whether the end of the first process is the end of all, as it
// is in a PID namespace that is the container's alone.
func (c *container) ownPIDs() (bool, error) {
	spec, err := c.config()
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // it is being created, and has one process at most
	}
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.PIDNamespace && ns.Path == "" }), nil
}

// killAll is SIGKILL for a container whose processes may outlive the first one.
func (c *container) killAll(ctx context.Context) error {
	g, err := c.cgroup()
	if errdefs.IsNotFound(err) {
		return ErrNotRunning
	}
	if err != nil {
		return err
	}
	pids, err := g.Procs()
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		return ErrNotRunning
	}
	return g.Kill(ctx)
}

func (c *container) signalAll(ctx context.Context, signal unix.Signal) error {
	if !c.CgroupMade {
		return ErrNotRunning
	}
	g, err := cgroups.Load(c.Cgroup)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if signal == unix.SIGKILL {
		return g.Kill(ctx)
	}
	pids, err := g.Procs()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, signal); err != nil && err != unix.ESRCH {
			return fmt.Errorf("send signal %d to process %d: %w", signal, pid, err)
		}
	}
	return nil
}

// Processes returns the ids of all processes of a container.
func (r Runtime) Processes(id string) ([]int, error) {
	c, err := r.look(id)
	if err != nil {
		return nil, err
	}
	g, err := c.cgroup()
	if err != nil {
		return nil, err
	}
	return g.Procs()
}

// Delete removes a container that has stopped, or was never started. With
// force it ends one that runs, removes one that is half created, and is content
// when there is none.
func (r Runtime) Delete(ctx context.Context, id string, force bool) error {
	c, err := r.hold(id)
	if c != nil {
		defer c.release()
	}
	if errors.Is(err, ErrNotExist) && force {
		if c == nil {
			return nil
		}
		// A directory without a state: nothing else was made yet, or is left.
		return os.RemoveAll(c.dir)
	}
	if err != nil {
		return err
	}
	if status := c.status(); (status == specs.StateRunning || status == StatePaused) && !force {
		return fmt.Errorf("cannot delete container %s that is not stopped: %s: %w", id, status, errdefs.ErrFailedPrecondition)
	}
	return c.remove(ctx)
}

// remove ends what runs and takes away what was made, in such an order that it
// can be done again when it is interrupted.
func (c *container) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	if err := c.end(ctx); err != nil {
		return err
	}
	g, err := cgroups.Load(c.Cgroup)
	switch {
	case errdefs.IsNotFound(err):
	case err != nil:
		return err
	case c.CgroupMade:
		if err := g.Kill(ctx); err != nil {
			return err
		}
		fallthrough
	default:
		if err := deleteCgroup(ctx, g); err != nil {
			return err
		}
	}
	if err := errors.Join(c.RDT.leave(ctx), c.stopUnit(ctx), c.unmount(ctx)); err != nil {
		return err
	}
	c.poststop(ctx)
	return os.RemoveAll(c.dir)
}

// end kills the first process and waits until it has gone.
func (c *container) end(ctx context.Context) error {
	pidfd, err := c.open()
	if err == ErrNotRunning {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill process %d: %w", c.Pid, err)
	}
	if err := c.thaw(ctx); err != nil {
		return err
	}
	// A pidfd becomes readable when its process ends, also for who is not its parent.
	gone := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(endTime); ; {
		n, err := unix.Poll(gone, int(time.Until(deadline).Milliseconds()))
		switch {
		case n > 0:
			return nil
		case err == unix.EINTR:
		case err != nil:
			return os.NewSyscallError("poll", err)
		default:
			return fmt.Errorf("process %d did not end within %v of SIGKILL", c.Pid, endTime)
		}
	}
}

// unmount takes away the mounts below the root file system of a container that
// has no mount namespace, with which they would go: the last one first.
func (c *container) unmount(ctx context.Context) error {
	if !c.HostMounts {
		return nil
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, line := range slices.Backward(slices.Collect(strings.Lines(string(mounts)))) {
		at := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(strings.Fields(line)[4])
		if !strings.HasPrefix(at, c.Rootfs+"/") {
			continue
		}
		chapter.Call(ctx, "without a mount namespace it would stay on the host", "umount2(%q, MNT_DETACH|UMOUNT_NOFOLLOW)", at)
		if err := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return &os.PathError{Op: "umount2", Path: at, Err: err}
		}
	}
	return nil
}

// deleteCgroup removes a cgroup, but only an empty one may have been another's.
func deleteCgroup(ctx context.Context, g *cgroups.Cgroup) error {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	return g.Delete(ctx)
}

// poststop runs the hooks that see the container gone. A failure is a warning
// (runtime-spec, runtime.md#lifecycle, step 13): there is nothing to go back to.
func (c *container) poststop(ctx context.Context) {
	for _, h := range c.Poststop {
		if err := namespaces.RunHooks(ctx, "poststop", []specs.Hook{h}, c.hookState(0, specs.StateStopped)); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}
