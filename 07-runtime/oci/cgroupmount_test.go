//go:build linux

package oci_test

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestACgroupMountEndsAtTheContainer looks at the mount of type cgroup of a
// container that has no cgroup namespace: each tree in it must begin at the
// container's own cgroup, so that it holds neither a neighbour nor the host.
func TestACgroupMountEndsAtTheContainer(t *testing.T) {
	for _, option := range []string{"ro", "rw"} {
		t.Run(option, func(t *testing.T) {
			t.Parallel()
			neighbour, b := newBundle(t, "sleep"), newBundle(t, "sleep")
			neighbour.id += "-neighbour"
			neighbour.spec.Linux.CgroupsPath += "-neighbour"
			b.spec.Mounts = append(b.spec.Mounts, specs.Mount{
				Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{option, "nosuid", "noexec", "nodev"},
			})
			neighbour.must("create", "--bundle", neighbour.dir, neighbour.id)
			b.must("create", "--bundle", b.dir, b.id)
			pid := b.state().Pid

			table, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
			if err != nil {
				t.Fatal(err)
			}
			trees := 0
			for line := range strings.Lines(string(table)) {
				f := strings.Fields(line)
				kind := f[slices.Index(f, "-")+1]
				if kind != "cgroup" && kind != "cgroup2" {
					continue
				}
				trees++
				inside := fmt.Sprintf("/proc/%d/root%s", pid, f[4])
				if f[3] != b.spec.Linux.CgroupsPath {
					t.Errorf("%s begins at the cgroup %s, want the container's own, %s", f[4], f[3], b.spec.Linux.CgroupsPath)
				}
				if procs, err := os.ReadFile(inside + "/cgroup.procs"); string(procs) != fmt.Sprintln(pid) {
					t.Errorf("%s holds the processes %q (%v), want the container's, %d", f[4], procs, err, pid)
				}
				filepath.WalkDir(inside, func(p string, d os.DirEntry, err error) error {
					if d != nil && strings.Contains(path.Base(p), neighbour.id) {
						t.Errorf("the neighbour can be seen: %s", p)
					}
					return nil
				})
				err := unix.Mkdir(inside+"/own", 0o755)
				unix.Rmdir(inside + "/own")
				if option == "ro" && err != unix.EROFS || option == "rw" && err != nil {
					t.Errorf("mkdir %s/own, mounted %s: %v", f[4], option, err)
				}
			}
			if trees == 0 {
				t.Errorf("no hierarchy is mounted:\n%s", table)
			}
		})
	}
}
