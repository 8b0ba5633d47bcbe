//go:build linux

package v1

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"drydock.example/01-chroot/explain"
	"drydock.example/03-cgroups/cgroupfs"
	"github.com/containerd/errdefs"
)

const chapter explain.Chapter = 3

// Cgroup is the directories of one container, one in each hierarchy.
type Cgroup struct {
	hierarchies []hierarchy
	made        []string // directories that Make made, outermost first
}

type hierarchy struct {
	cgroupfs.Mount
	dir string
}

// Locate names the cgroups that stand at path (see [cgroupfs.Clean]) in each
// hierarchy. It does not look whether they exist. A relative path begins at this
// process's own cgroup, which is another one in each hierarchy.
func Locate(mounts []cgroupfs.Mount, path string) (*Cgroup, error) {
	c := &Cgroup{}
	for _, mount := range mounts {
		dir, err := mount.Locate(path, func() (string, error) { return cgroupfs.Own(mount.Controllers[0]) })
		if err != nil {
			return nil, err
		}
		c.hierarchies = append(c.hierarchies, hierarchy{mount, dir})
	}
	return c, nil
}

// dir returns the cgroup's directory in the hierarchy of a controller.
func (c *Cgroup) dir(controller string) (string, error) {
	for _, h := range c.hierarchies {
		if slices.Contains(h.Controllers, controller) {
			return h.dir, nil
		}
	}
	return "", errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("this limit needs the %s controller, and no cgroup v1 hierarchy with it is mounted (see /proc/cgroups and /proc/self/mountinfo)", controller))
}

// Has says whether a controller has a hierarchy.
func (c *Cgroup) Has(controller string) bool {
	_, err := c.dir(controller)
	return err == nil
}

// Paths returns the directory of each controller.
func (c *Cgroup) Paths() map[string]string {
	paths := map[string]string{}
	for _, h := range c.hierarchies {
		for _, name := range h.Controllers {
			paths[name] = h.dir
		}
	}
	return paths
}

// Exists says whether one of the directories is there.
func (c *Cgroup) Exists() bool {
	return slices.ContainsFunc(c.hierarchies, func(h hierarchy) bool { return cgroupfs.Exists(h.dir) })
}

// Make makes the directories and their missing parents. Those that exist are
// taken over when no process is in them, else the error is of kind
// AlreadyExists. Undone by [Cgroup.Unmake].
func (c *Cgroup) Make(ctx context.Context) error {
	for _, h := range c.hierarchies {
		err := cgroupfs.Rebuild(ctx, func() error {
			err := c.makeAll(ctx, h)
			if errdefs.IsAlreadyExists(err) {
				return takeOver(h)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Complete makes the directories that a service manager, which has a hierarchy
// for itself and knows some controllers, has not made. Undone by
// [Cgroup.Unmake].
func (c *Cgroup) Complete(ctx context.Context) error {
	for _, h := range c.hierarchies {
		err := cgroupfs.Rebuild(ctx, func() error { return c.makeAll(ctx, h) })
		if err != nil && !errdefs.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// makeAll makes the hierarchy's cgroup, after its parents when they are missing.
func (c *Cgroup) makeAll(ctx context.Context, h hierarchy) error {
	before := len(c.made)
	if err := c.makeDir(ctx, h, h.dir); err != nil || !slices.Contains(h.Controllers, "cpuset") {
		return err
	}
	// Now, and not after each: a parent cannot be removed any more by whoever ends its last container.
	for _, dir := range c.made[before:] {
		if err := inherit(ctx, dir, dir != h.dir); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cgroup) makeDir(ctx context.Context, h hierarchy, dir string) error {
	why := "the container's cgroup for " + strings.Join(h.Controllers, ", ")
	err := cgroupfs.Mkdir(ctx, dir, why)
	if errors.Is(err, fs.ErrNotExist) && len(dir) > len(h.Dir) {
		if err := c.makeDir(ctx, h, filepath.Dir(dir)); err != nil && !errdefs.IsAlreadyExists(err) {
			return err
		}
		err = cgroupfs.Mkdir(ctx, dir, why)
	}
	if err == nil {
		c.made = append(c.made, dir)
	}
	return err
}

// inherit fills a new cpuset. It is empty, and no process may enter one that is,
// unless its parent has clone_children. A parent that we made gets that, so
// that from the second container on this is one read.
func inherit(ctx context.Context, dir string, below bool) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		have, err := cgroupfs.ReadString(filepath.Join(dir, file))
		if err != nil {
			return err
		}
		if have != "" {
			break
		}
		parent := filepath.Join(filepath.Dir(dir), file)
		value, err := cgroupfs.ReadString(parent)
		if err != nil {
			return err
		}
		if value == "" { // somebody made it with mkdir and did no more
			if err := inherit(ctx, filepath.Dir(dir), false); err != nil {
				return err
			}
			if value, err = cgroupfs.ReadString(parent); err != nil {
				return err
			}
		}
		if err := cgroupfs.Write(ctx, filepath.Join(dir, file), value, "a cpuset is born empty, and nobody may enter an empty one"); err != nil {
			return err
		}
	}
	if below {
		return cgroupfs.Write(ctx, filepath.Join(dir, "cgroup.clone_children"), "1", "cpusets below are born with this one's values")
	}
	return nil
}

// takeOver refuses a cgroup that is in use, or in which a new process would
// stand still.
func takeOver(h hierarchy) error {
	pids, err := cgroupfs.TreePids(h.dir)
	if err != nil {
		return err
	}
	if len(pids) > 0 {
		return errdefs.ErrAlreadyExists.WithMessage(fmt.Sprintf("cgroup %s already exists and has processes (%s): use another name, or end them first", h.dir, cgroupfs.ListPids(pids)))
	}
	if slices.Contains(h.Controllers, "freezer") {
		state, err := cgroupfs.ReadString(h.dir + "/freezer.state")
		if err == nil && state != thawed {
			err = errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("cgroup %s already exists and is frozen (container's cgroup unexpectedly frozen): `echo THAWED > %s/freezer.state` thaws it", h.dir, h.dir))
		}
		return err
	}
	return nil
}

// Unmake removes the directories that Make made, as far as nobody else began
// to use them.
func (c *Cgroup) Unmake(ctx context.Context) {
	for _, dir := range slices.Backward(c.made) {
		_ = cgroupfs.Rmdir(ctx, dir, "the container will not be: its cgroup goes")
	}
	c.made = nil
}

// Enter moves a process, with all its threads, into the cgroup of each
// hierarchy, one after the other. The first move waits for the machine's forks
// and exits; [Cgroup.Spawn] and [Cgroup.Tasks] are the ways without that wait.
func (c *Cgroup) Enter(ctx context.Context, pid int) error {
	for _, h := range c.hierarchies {
		if err := cgroupfs.Write(ctx, h.dir+"/cgroup.procs", strconv.Itoa(pid), "the process is moved into this hierarchy's cgroup"); err != nil {
			return err
		}
	}
	return nil
}

// Procs returns the processes in the cgroup and below it.
func (c *Cgroup) Procs() ([]int, error) {
	return cgroupfs.TreePids(c.one())
}

// one returns the directory whose processes stand for all: the hierarchies
// hold the same ones.
func (c *Cgroup) one() string {
	for _, name := range []string{"pids", "freezer", "memory"} {
		if dir, err := c.dir(name); err == nil {
			return dir
		}
	}
	return c.hierarchies[0].dir
}

// OOMKills counts the processes of the cgroup that were killed because its
// memory limit left nothing else to do (kernel 4.13).
func (c *Cgroup) OOMKills() (uint64, error) {
	dir, err := c.dir("memory")
	if err != nil {
		return 0, err
	}
	m, err := cgroupfs.ReadMap(dir + "/memory.oom_control")
	return m["oom_kill"], err
}
