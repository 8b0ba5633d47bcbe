//go:build linux

package cgroups

import (
	"context"
	"errors"

	"drydock.example/03-cgroups/cgroupfs"
	"golang.org/x/sys/unix"
)

// RemoveEmpty removes the cgroup path from every hierarchy in which it holds
// nothing, no process and no cgroup. It is how the parent of many cgroups,
// which Create made on the way, goes with the last of them.
func RemoveEmpty(ctx context.Context, path string) error {
	c, err := locate(path)
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range c.Paths() {
		err := cgroupfs.Rmdir(ctx, dir, "nothing is left in it")
		if err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
