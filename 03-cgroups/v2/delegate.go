//go:build linux

package v2

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"drydock.example/03-cgroups/cgroupfs"
)

// Delegate hands the cgroup to a user: who owns the directory makes children,
// who owns cgroup.procs moves his processes about below, and who owns
// cgroup.subtree_control hands controllers on. The limits of the cgroup itself
// stay root's, so whatever the user does below, together it is held by them
// (cgroup-v2.rst, "Delegation").
//
// A process enters only from a place that is in the user's part too: root puts
// his first one there.
func (c *Cgroup) Delegate(ctx context.Context, uid, gid int) error {
	// The kernel says which files those are; kernels before 4.15 have no list, and these three.
	files := []string{"cgroup.procs", "cgroup.threads", "cgroup.subtree_control"}
	if list, err := cgroupfs.ReadString("/sys/kernel/cgroup/delegate"); err == nil {
		files = strings.Fields(list)
	}
	chown := func(path, why string) error {
		chapter.Call(ctx, why, "lchown(%q, %d, %d)", path, uid, gid)
		return os.Lchown(path, uid, gid)
	}
	if err := chown(c.dir, "who owns the directory may make cgroups in it"); err != nil {
		return err
	}
	for _, file := range files {
		// memory.oom.group and memory.reclaim are there with their controller alone.
		if err := chown(c.dir+"/"+file, "a file that a delegate may write"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
