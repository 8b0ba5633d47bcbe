//go:build linux

package v1

import (
	"context"
	"fmt"
	"strings"
	"time"

	"drydock.example/03-cgroups/cgroupfs"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// States of freezer.state. Between the two stands FREEZING: some have stopped.
const (
	frozen = "FROZEN"
	thawed = "THAWED"
)

// Freeze stops every process of the cgroup and returns when the last one
// stands still, or ctx ends (the cgroup is thawed again then). The kernel stops
// trying when a process forks in the wrong moment, so the request is repeated
// (freezer-subsystem.rst).
func (c *Cgroup) Freeze(ctx context.Context) error {
	dir, err := c.dir("freezer")
	if err != nil {
		return err
	}
	for wait := newBackoff(); ; {
		if err := cgroupfs.Write(ctx, dir+"/freezer.state", frozen, "every process in it stops where it is"); err != nil {
			return err
		}
		state, err := cgroupfs.ReadString(dir + "/freezer.state")
		if err != nil || state == frozen {
			return err
		}
		if err := wait.next(ctx); err != nil {
			_ = c.Thaw(context.WithoutCancel(ctx))
			return fmt.Errorf("freeze %s: still %s: %w", dir, state, err)
		}
	}
}

// Thaw lets the processes go on.
func (c *Cgroup) Thaw(ctx context.Context) error {
	dir, err := c.dir("freezer")
	if err != nil {
		return err
	}
	return cgroupfs.Write(ctx, dir+"/freezer.state", thawed, "its processes go on")
}

// Frozen says whether all processes of the cgroup stand still.
func (c *Cgroup) Frozen() (bool, error) {
	dir, err := c.dir("freezer")
	if err != nil {
		return false, err
	}
	state, err := cgroupfs.ReadString(dir + "/freezer.state")
	return state == frozen, err
}

// Kill sends SIGKILL to every process in the cgroup and below it. They are
// frozen first, so that none forks away between the list and the signal, and
// thawed last, because a frozen process does not die.
func (c *Cgroup) Kill(ctx context.Context) error {
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
		if !c.holds(pid) {
			continue
		}
		chapter.Call(ctx, "frozen, so it cannot fork away from this", "kill(%d, SIGKILL)", pid)
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
			return fmt.Errorf("kill %d in %s: %w", pid, c.one(), err)
		}
	}
	return nil
}

// holds says whether a process is in the cgroup or below it with its first
// thread. cgroup.procs of v1 lists a process also when another of its threads
// is there, as an engine's is during [Cgroup.Spawn].
func (c *Cgroup) holds(pid int) bool {
	for _, h := range c.hierarchies {
		if h.dir != c.one() {
			continue
		}
		own, err := cgroupfs.Of(pid, h.Controllers[0])
		dir, locateErr := h.Locate(".", func() (string, error) { return own, nil })
		if err != nil || locateErr != nil {
			return false // it ended, or is out of sight
		}
		return dir == h.dir || strings.HasPrefix(dir, h.dir+"/")
	}
	return false
}

// Delete removes the cgroup with its children, the innermost first. Where a
// process is left it waits until the last one is gone; it kills nobody. v1 has
// no event for that, so rmdir(2) is tried again, after 1 ms first and 50 ms at
// most. When ctx ends the error, of kind FailedPrecondition, names some of the
// processes left.
func (c *Cgroup) Delete(ctx context.Context) error {
	for _, h := range c.hierarchies {
		for wait := newBackoff(); ; {
			err := removeTree(ctx, h.dir)
			if !errdefs.IsFailedPrecondition(err) {
				if err != nil {
					return err
				}
				break
			}
			if stop := wait.next(ctx); stop != nil {
				pids, _ := cgroupfs.TreePids(h.dir)
				return fmt.Errorf("cgroup %s still has processes (%s): %w: %w", h.dir, cgroupfs.ListPids(pids), stop, errdefs.ErrFailedPrecondition)
			}
		}
	}
	return nil
}

// removeTree removes dir at once when it has no children, which is the rule.
func removeTree(ctx context.Context, dir string) error {
	const why = "an empty cgroup is removed as a directory is"
	err := cgroupfs.Rmdir(ctx, dir, why)
	if !errdefs.IsFailedPrecondition(err) {
		return err
	}
	children, readErr := cgroupfs.Children(dir)
	if readErr != nil || len(children) == 0 {
		return err
	}
	for _, child := range children {
		if err := removeTree(ctx, child); err != nil {
			return err
		}
	}
	return cgroupfs.Rmdir(ctx, dir, why)
}

// backoff is the time until the kernel is asked again.
type backoff time.Duration

func newBackoff() *backoff {
	b := backoff(time.Millisecond)
	return &b
}

// next waits, or returns the cause of ctx's end.
func (b *backoff) next(ctx context.Context) error {
	timer := time.NewTimer(time.Duration(*b))
	defer timer.Stop()
	*b = min(*b*2, backoff(50*time.Millisecond))
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
