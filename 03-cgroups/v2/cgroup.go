//go:build linux

package v2

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"drydock.example/01-chroot/explain"
	"drydock.example/03-cgroups/cgroupfs"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

const chapter explain.Chapter = 3

// Cgroup is one directory of the unified hierarchy.
type Cgroup struct {
	mount cgroupfs.Mount
	dir   string
	made  []string // directories that Create made, outermost first
}

// Locate names the cgroup that stands at path (see [cgroupfs.Clean]). It does
// not look whether it exists. A relative path begins beside this process's own
// cgroup, not below it: that one has a process, us, and may so have no children
// with controllers.
func Locate(mount cgroupfs.Mount, path string) (*Cgroup, error) {
	dir, err := mount.Locate(path, func() (string, error) {
		own, err := cgroupfs.Own("")
		return filepath.Dir(own), err
	})
	if err != nil {
		return nil, err
	}
	return &Cgroup{mount: mount, dir: dir}, nil
}

// Path is the cgroup's directory.
func (c *Cgroup) Path() string { return c.dir }

// Exists says whether the cgroup is there.
func (c *Cgroup) Exists() bool { return cgroupfs.Exists(c.dir) }

// Make makes the directory and its missing parents, and has every parent give
// the controllers to its children. One that exists is taken over when no
// process is in it (or below), else the error is of kind AlreadyExists. Undone
// by [Cgroup.Unmake].
func (c *Cgroup) Make(ctx context.Context, controllers []string) error {
	return cgroupfs.Rebuild(ctx, func() error { return c.makeAll(ctx, controllers) })
}

func (c *Cgroup) makeAll(ctx context.Context, controllers []string) error {
	var parents []string // innermost first, without the mount point
	for dir := filepath.Dir(c.dir); len(dir) > len(c.mount.Dir); dir = filepath.Dir(dir) {
		parents = append(parents, dir)
	}
	slices.Reverse(parents)
	for _, dir := range parents {
		if cgroupfs.Exists(dir) {
			continue
		}
		// Another container that starts now may be faster.
		if err := c.mkdir(ctx, dir, "a parent for the container's cgroup"); err != nil && !errdefs.IsAlreadyExists(err) {
			return err
		}
	}
	if err := c.enable(ctx, append([]string{c.mount.Dir}, parents...), controllers); err != nil {
		return err
	}
	err := c.mkdir(ctx, c.dir, "the container's cgroup")
	if errdefs.IsAlreadyExists(err) {
		return c.takeOver()
	}
	return err
}

func (c *Cgroup) mkdir(ctx context.Context, dir, why string) error {
	err := cgroupfs.Mkdir(ctx, dir, why)
	if err == nil {
		c.made = append(c.made, dir)
	}
	return err
}

// takeOver refuses a cgroup that is in use, or in which a new process would
// stand still.
func (c *Cgroup) takeOver() error {
	events, err := cgroupfs.ReadMap(c.dir + "/cgroup.events")
	if err != nil {
		return err
	}
	if events["populated"] == 1 {
		pids, _ := cgroupfs.TreePids(c.dir)
		return errdefs.ErrAlreadyExists.WithMessage(fmt.Sprintf("cgroup %s already exists and has processes (%s): use another name, or end them first", c.dir, cgroupfs.ListPids(pids)))
	}
	if events["frozen"] == 1 {
		return errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("cgroup %s already exists and is frozen (container's cgroup unexpectedly frozen): `echo 0 > %s/cgroup.freeze` thaws it", c.dir, c.dir))
	}
	return nil
}

// enable writes the controllers that are missing to cgroup.subtree_control,
// from the root of the tree to the container's parent: a cgroup can only hand
// on what it was given (cgroup-v2.rst, "Top-down Constraint").
func (c *Cgroup) enable(ctx context.Context, parents, controllers []string) error {
	missingIn := func(dir string) ([]string, error) {
		b, err := cgroupfs.ReadString(dir + "/cgroup.subtree_control")
		if err != nil {
			return nil, err
		}
		have := strings.Fields(b)
		return slices.DeleteFunc(slices.Clone(controllers), func(name string) bool {
			return slices.Contains(have, name)
		}), nil
	}
	// The innermost parent has them all in every start but the first.
	if missing, err := missingIn(parents[len(parents)-1]); err != nil || len(missing) == 0 {
		return err
	}
	for _, dir := range parents {
		missing, err := missingIn(dir)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			continue
		}
		err = cgroupfs.Write(ctx, dir+"/cgroup.subtree_control", "+"+strings.Join(missing, " +"), "the children get these controllers")
		if errors.Is(err, unix.EBUSY) {
			pids, _ := cgroupfs.ReadPids(dir + "/cgroup.procs")
			return fmt.Errorf("%w: the cgroup has processes of its own (%s), and cgroup v2 gives a cgroup either processes or children with controllers: move them into a child, or choose another parent", err, cgroupfs.ListPids(pids))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Available returns the controllers that the cgroup's parents can give to it:
// those of the outermost parent that this process may write to. For root that
// is the root of the tree, for an ordinary user what was delegated to him.
func (c *Cgroup) Available() ([]string, error) {
	outermost := c.mount.Dir
	for dir := filepath.Dir(c.dir); len(dir) > len(c.mount.Dir); dir = filepath.Dir(dir) {
		if unix.Access(c.mount.Dir+"/cgroup.subtree_control", unix.W_OK) == nil {
			break
		}
		err := unix.Access(dir+"/cgroup.subtree_control", unix.W_OK)
		if err == nil {
			outermost = dir
		} else if err != unix.ENOENT {
			break
		}
	}
	s, err := cgroupfs.ReadString(outermost + "/cgroup.controllers")
	return strings.Fields(s), err
}

// Unmake removes the directories that Make made, as far as nobody else began
// to use them.
func (c *Cgroup) Unmake(ctx context.Context) {
	for _, dir := range slices.Backward(c.made) {
		_ = cgroupfs.Rmdir(ctx, dir, "the container will not be: its cgroup goes")
	}
	c.made = nil
}

// Dir opens the cgroup for CLONE_INTO_CGROUP (clone(2)): a process that is
// cloned with it is born inside, limits and all, and is never seen outside.
func (c *Cgroup) Dir() (*os.File, error) {
	fd, err := unix.Open(c.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: c.dir, Err: err}
	}
	return os.NewFile(uintptr(fd), c.dir), nil
}

// Enter moves a process, with all its threads, into the cgroup. It costs
// milliseconds, as the kernel waits until no thread of the machine is in the
// middle of a fork or an exit; a process that is yet to be is better born
// inside ([Cgroup.Dir]).
func (c *Cgroup) Enter(ctx context.Context, pid int) error {
	return cgroupfs.Write(ctx, c.dir+"/cgroup.procs", strconv.Itoa(pid), "the process is moved into the cgroup")
}

// Procs returns the processes in the cgroup and below it.
func (c *Cgroup) Procs() ([]int, error) { return cgroupfs.TreePids(c.dir) }

// OOMKills counts the processes of the cgroup that were killed because its
// memory limit left nothing else to do.
func (c *Cgroup) OOMKills() (uint64, error) {
	events, err := cgroupfs.ReadMap(c.dir + "/memory.events")
	return events["oom_kill"], err
}
