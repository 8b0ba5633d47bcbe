//go:build linux

package cgroups

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"drydock.example/03-cgroups/cgroupfs"
	v1 "drydock.example/03-cgroups/v1"
	v2 "drydock.example/03-cgroups/v2"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Stats is what the kernel counted for a cgroup; sizes in bytes, times as
// durations, see its fields.
type Stats = cgroupfs.Stats

// NoLimit is what [Stats] shows where no limit is set.
const NoLimit uint64 = cgroupfs.NoLimit

// Cgroup is a container's place in every hierarchy that counts. Exactly one of
// v1 and v2 is set on a host of that mode, both on a hybrid one.
type Cgroup struct {
	v1 *v1.Cgroup
	v2 *v2.Cgroup
}

// locate names the cgroup at path. It changes nothing.
func locate(path string) (*Cgroup, error) {
	path, err := cgroupfs.Clean(path)
	if err != nil {
		return nil, err
	}
	mounts, mode, err := detect()
	if err != nil {
		return nil, err
	}
	c := &Cgroup{}
	if mode != V2 {
		if c.v1, err = v1.Locate(mounts.V1, path); err != nil {
			return nil, err
		}
	}
	if mode != V1 {
		if c.v2, err = v2.Locate(*mounts.V2, path); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Create makes the cgroup path ("/drydock/ID") in every hierarchy that counts,
// and sets the limits that r gives; nil gives none. Missing parents are made
// too. Where a limit is refused nothing is left behind. A pids limit below 8 is
// held back until [Cgroup.Started].
//
// Errors: InvalidArgument (a path with "..", a limit that makes no sense, or
// that the kernel refused, in its own words), AlreadyExists (processes are in
// it; an empty one is taken over, with the limits that it has), FailedPrecondition (a controller is missing,
// or the parent has processes of its own on v2), PermissionDenied.
func Create(ctx context.Context, path string, r *specs.LinuxResources) (_ *Cgroup, err error) {
	if err := check(r); err != nil {
		return nil, err
	}
	r, _ = startable(r)
	c, err := locate(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.unmake(context.WithoutCancel(ctx))
		}
	}()
	if c.v1 != nil {
		if err := c.v1.Make(ctx); err != nil {
			return nil, err
		}
	}
	if c.v2 != nil {
		controllers, err := c.wanted(r)
		if err != nil {
			return nil, err
		}
		if err := c.v2.Make(ctx, controllers); err != nil {
			return nil, err
		}
	}
	if err := c.set(ctx, r); err != nil {
		return nil, err
	}
	return c, nil
}

// wanted returns the controllers that the cgroup needs on v2: those of its
// limits and, where containers live there, those that count what one uses.
func (c *Cgroup) wanted(r *specs.LinuxResources) ([]string, error) {
	var names []string
	if c.v1 == nil {
		names = v2.Controllers(r)
	} else {
		_, two := c.split(r)
		if names = v2.Controllers(two); len(names) == 0 {
			return nil, nil
		}
	}
	available, err := c.v2.Available()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !slices.Contains(available, name) {
			return nil, errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("invalid configuration: this limit needs the %s controller on cgroup v2, which offers: %s", name, strings.Join(available, " ")))
		}
	}
	if c.v1 == nil {
		for _, name := range []string{"cpu", "cpuset", "io", "memory", "pids"} {
			if slices.Contains(available, name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

func (c *Cgroup) unmake(ctx context.Context) {
	if c.v1 != nil {
		c.v1.Unmake(ctx)
	}
	if c.v2 != nil {
		c.v2.Unmake(ctx)
	}
}

// Load finds the cgroup that Create made at path, perhaps in another process.
// The error is of kind NotFound when there is none.
func Load(path string) (*Cgroup, error) {
	c, err := locate(path)
	if err != nil {
		return nil, err
	}
	switch {
	case c.v2 != nil && c.v2.Exists():
		return c, nil
	case c.v1 != nil && c.v1.Exists():
		c.v2 = nil // on a hybrid host: made by an engine that has no use for it
		return c, nil
	}
	return nil, errdefs.ErrNotFound.WithMessage(fmt.Sprintf("no cgroup %s", path))
}

// Set changes the limits that r gives and leaves the others as they are. In r a
// missing field and 0 mean "not given", -1 means "no limit".
func (c *Cgroup) Set(ctx context.Context, r *specs.LinuxResources) error {
	if err := check(r); err != nil {
		return err
	}
	return c.set(ctx, r)
}

// Started sets what Create held back of r, if anything, and is for whoever has
// started the program. The process that prepares a container is a Go program,
// of up to 8 threads, and the runtime ends it when it cannot have one more;
// from execve(2) on it is the user's program, with one. Until this call returns
// that program may have up to 8 tasks as well. Those that it already has stay,
// as the kernel refuses the next fork and takes none back.
func (c *Cgroup) Started(ctx context.Context, r *specs.LinuxResources) error {
	if _, held := startable(r); !held {
		return nil
	}
	return c.set(ctx, &specs.LinuxResources{Pids: r.Pids})
}

func (c *Cgroup) set(ctx context.Context, r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	if err := c.checkUsage(r.Memory); err != nil {
		return err
	}
	r = withDefaultDevices(r)
	switch {
	case c.v1 == nil:
		return c.v2.Set(ctx, r)
	case c.v2 == nil:
		return c.v1.Set(ctx, r)
	}
	one, two := c.split(r)
	if err := c.v1.Set(ctx, one); err != nil {
		return err
	}
	return c.v2.Set(ctx, two)
}

// checkUsage refuses a memory limit below what is in use, where the
// specification's checkBeforeUpdate asks for it: the kernel would kill.
func (c *Cgroup) checkUsage(m *specs.LinuxMemory) error {
	if m == nil || m.CheckBeforeUpdate == nil || !*m.CheckBeforeUpdate || m.Limit == nil || *m.Limit <= 0 {
		return nil
	}
	s, err := c.Stats()
	if err == nil && s.Memory.Usage > uint64(*m.Limit) {
		err = errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("memory limit %d is below the %d bytes in use", *m.Limit, s.Memory.Usage))
	}
	return err
}

// split tells what a hybrid host has on v2 from the rest: the raw keys of its
// files, and huge pages, network class and priority where v1 has no hierarchy
// for them.
func (c *Cgroup) split(r *specs.LinuxResources) (one, two *specs.LinuxResources) {
	if r == nil {
		return nil, nil
	}
	rest := *r
	two = &specs.LinuxResources{Unified: r.Unified}
	rest.Unified = nil
	if !c.v1.Has("hugetlb") {
		two.HugepageLimits, rest.HugepageLimits = r.HugepageLimits, nil
	}
	if n := r.Network; n != nil && (n.ClassID == nil || !c.v1.Has("net_cls")) && (len(n.Priorities) == 0 || !c.v1.Has("net_prio")) {
		two.Network, rest.Network = n, nil
	}
	return &rest, two
}

// Dir opens the cgroup for CLONE_INTO_CGROUP (clone(2)): a process cloned with
// it is born inside. On v1, which knows no such flag, both results are nil; a
// hybrid host needs [Cgroup.Tasks] as well.
func (c *Cgroup) Dir() (*os.File, error) {
	if c.v2 == nil {
		return nil, nil
	}
	return c.v2.Dir()
}

// Tasks opens the cgroup's tasks files of v1, one for each hierarchy: a process
// that inherits them moves itself, by writing 0 to each. v2 has none. What a
// process takes that is moved so counts from then on; but a crowd that is at its
// limit can be joined, where nobody can be born ([Cgroup.Spawn]).
func (c *Cgroup) Tasks() ([]*os.File, error) {
	if c.v1 == nil {
		return nil, nil
	}
	return c.v1.Tasks()
}

// Spawn calls start in such a way that the process which start clones is born
// in the cgroup, in every hierarchy. start must clone on the goroutine that it
// is called on, with CLONE_INTO_CGROUP for dir when that is not nil, and do
// little else: on v1 its thread stands in the cgroup while it runs, and is
// taken back before Spawn returns.
//
// Next to [Cgroup.Enter] this leaves no moment in which the process is without
// its limits, and it is some 10 ms faster (see the chapter).
func (c *Cgroup) Spawn(ctx context.Context, start func(dir *os.File) error) error {
	dir, err := c.Dir()
	if err != nil {
		return err
	}
	if dir != nil {
		defer dir.Close()
	}
	if c.v1 == nil {
		return start(dir)
	}
	return c.v1.Spawn(ctx, func() error { return start(dir) })
}

// StartCommand starts a command that is born in the cgroup, see [Cgroup.Spawn].
func (c *Cgroup) StartCommand(ctx context.Context, cmd *exec.Cmd) error {
	return c.Spawn(ctx, func(dir *os.File) error {
		if dir != nil {
			if cmd.SysProcAttr == nil {
				cmd.SysProcAttr = &syscall.SysProcAttr{}
			}
			cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
		}
		return cmd.Start()
	})
}

// Enter moves a running process, with all its threads, into the cgroup of every
// hierarchy. Its children of before stay where they are.
func (c *Cgroup) Enter(ctx context.Context, pid int) error {
	if c.v1 != nil {
		if err := c.v1.Enter(ctx, pid); err != nil {
			return err
		}
	}
	if c.v2 != nil {
		return c.v2.Enter(ctx, pid)
	}
	return nil
}

// Procs returns the IDs of the processes in the cgroup and below it.
func (c *Cgroup) Procs() ([]int, error) {
	if c.v1 != nil {
		return c.v1.Procs()
	}
	return c.v2.Procs()
}

// Stats returns what the kernel has counted so far.
func (c *Cgroup) Stats() (Stats, error) {
	if c.v1 != nil {
		return c.v1.Stats()
	}
	return c.v2.Stats()
}

// OOMKills counts the processes that were killed because the memory limit left
// nothing else to do.
func (c *Cgroup) OOMKills() (uint64, error) {
	if c.v1 != nil {
		return c.v1.OOMKills()
	}
	return c.v2.OOMKills()
}

// Freeze stops every process of the cgroup and returns when the last one stands
// still. Freezing, killing and the end of the last process belong to v2 itself
// and not to one of its controllers, so a hybrid host has them, with their
// events, too.
func (c *Cgroup) Freeze(ctx context.Context) error {
	if c.v2 != nil {
		return c.v2.Freeze(ctx)
	}
	return c.v1.Freeze(ctx)
}

// Thaw lets the processes go on.
func (c *Cgroup) Thaw(ctx context.Context) error {
	if c.v2 != nil {
		return c.v2.Thaw(ctx)
	}
	return c.v1.Thaw(ctx)
}

// Frozen says whether all processes of the cgroup stand still.
func (c *Cgroup) Frozen() (bool, error) {
	if c.v2 != nil {
		return c.v2.Frozen()
	}
	return c.v1.Frozen()
}

// Kill sends SIGKILL to every process in the cgroup and below it; none can fork
// away from it.
func (c *Cgroup) Kill(ctx context.Context) error {
	if c.v2 != nil {
		return c.v2.Kill(ctx)
	}
	return c.v1.Kill(ctx)
}

// Delete removes the cgroup, with its children, from every hierarchy. It waits
// until the last process is gone and kills none; when ctx ends first, the error
// names some of those left and is of kind FailedPrecondition. A cgroup that is
// gone already is no error.
func (c *Cgroup) Delete(ctx context.Context) error {
	var errs []error
	// v2 first: its event says when the processes have left v1 as well.
	if c.v2 != nil {
		errs = append(errs, c.v2.Delete(ctx))
	}
	if c.v1 != nil {
		errs = append(errs, c.v1.Delete(ctx))
	}
	return errors.Join(errs...)
}

// Paths returns the cgroup's directory for each controller, as v1 has them;
// "" is the one of v2.
func (c *Cgroup) Paths() map[string]string {
	paths := map[string]string{}
	if c.v1 != nil {
		maps.Copy(paths, c.v1.Paths())
	}
	if c.v2 != nil {
		paths[""] = c.v2.Path()
	}
	return paths
}
