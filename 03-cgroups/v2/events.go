//go:build linux

package v2

import (
	"context"
	"fmt"
	"os"
	"strings"

	"drydock.example/03-cgroups/cgroupfs"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// await returns when cgroup.events shows key with value. The kernel wakes
// poll(2) with POLLPRI each time the file changes, so nothing is asked on a
// timer (cgroup-v2.rst, "[Un]populated Notification"). A cgroup that has gone
// in the meantime is neither populated nor frozen.
func (c *Cgroup) await(ctx context.Context, key string, value uint64) error {
	path := c.dir + "/cgroup.events"
	file, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(file)

	buf := make([]byte, 256)
	for {
		// The read also arms the next notification: what changes after it
		// wakes the poll.
		n, err := unix.Pread(file, buf, 0)
		switch {
		case err == unix.ENODEV:
			return nil
		case err == unix.EINTR:
			continue
		case err != nil:
			return &os.PathError{Op: "read", Path: path, Err: err}
		}
		if strings.Contains(string(buf[:n]), fmt.Sprintf("%s %d\n", key, value)) {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := cgroupfs.AwaitPriority(ctx, file); err != nil {
			return err
		}
	}
}

// Freeze stops every process of the cgroup and returns when the last one
// stands still, or ctx ends (the cgroup is thawed again then).
func (c *Cgroup) Freeze(ctx context.Context) error {
	if err := cgroupfs.Write(ctx, c.dir+"/cgroup.freeze", "1", "every process in it stops where it is"); err != nil {
		return err
	}
	if err := c.await(ctx, "frozen", 1); err != nil {
		_ = c.Thaw(context.WithoutCancel(ctx))
		return fmt.Errorf("freeze %s: %w", c.dir, err)
	}
	return nil
}

// Thaw lets the processes go on.
func (c *Cgroup) Thaw(ctx context.Context) error {
	return cgroupfs.Write(ctx, c.dir+"/cgroup.freeze", "0", "its processes go on")
}

// Frozen says whether all processes of the cgroup stand still.
func (c *Cgroup) Frozen() (bool, error) {
	events, err := cgroupfs.ReadMap(c.dir + "/cgroup.events")
	return events["frozen"] == 1, err
}

// Kill sends SIGKILL to every process in the cgroup and below it, the frozen
// ones and those that are being forked included. Kernels before 5.14 have no
// cgroup.kill: there the cgroup is frozen, so that nobody can fork away, and
// each process is killed on its own.
func (c *Cgroup) Kill(ctx context.Context) error {
	err := cgroupfs.Write(ctx, c.dir+"/cgroup.kill", "1", "the whole tree of processes dies at once")
	if !errdefs.IsNotFound(err) || !c.Exists() {
		return err
	}
	if err := c.Freeze(ctx); err != nil {
		return err
	}
	// Whatever happens below, nobody is left frozen.
	defer func() { _ = c.Thaw(context.WithoutCancel(ctx)) }()
	pids, err := c.Procs()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		chapter.Call(ctx, "this kernel has no cgroup.kill", "kill(%d, SIGKILL)", pid)
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
			return fmt.Errorf("kill %d in %s: %w", pid, c.dir, err)
		}
	}
	return nil
}

// Empty returns when no process is left in the cgroup and below it, or with an
// error of kind FailedPrecondition that names some of those left when ctx ends.
func (c *Cgroup) Empty(ctx context.Context) error {
	err := c.await(ctx, "populated", 0)
	if err != nil && ctx.Err() != nil {
		pids, _ := c.Procs()
		return fmt.Errorf("cgroup %s still has processes (%s): %w: %w", c.dir, cgroupfs.ListPids(pids), err, errdefs.ErrFailedPrecondition)
	}
	return err
}

// Delete removes the cgroup with its children, the innermost first. Where a
// process is left it waits until the last one is gone ([Cgroup.Empty]); it
// kills nobody.
func (c *Cgroup) Delete(ctx context.Context) error {
	const why = "an empty cgroup is removed as a directory is"
	err := cgroupfs.Rmdir(ctx, c.dir, why)
	if !errdefs.IsFailedPrecondition(err) {
		return err
	}
	if err := c.Empty(ctx); err != nil {
		return err
	}
	return removeTree(ctx, c.dir, why)
}

func removeTree(ctx context.Context, dir, why string) error {
	children, err := cgroupfs.Children(dir)
	if err != nil {
		return err
	}
	for _, child := range children {
		if err := removeTree(ctx, child, why); err != nil {
			return err
		}
	}
	return cgroupfs.Rmdir(ctx, dir, why)
}
