//go:build linux

package hosttest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where hierarchies are mounted by convention.
const cgroupRoot = "/sys/fs/cgroup"

// testsLeaf is the cgroup v2 of the tests themselves. They may not stay in the
// namespace's root: a cgroup with processes hands no controllers on.
const testsLeaf = "drydock-tests"

func cgroupName(pid int) string { return "/drydock-test-" + strconv.Itoa(pid) }

// hierarchy is one mounted cgroup hierarchy.
type hierarchy struct {
	mount
	// root is the mounted directory as the host has it, and procs its open
	// cgroup.procs: through them the namespace can be left. nil outside it.
	root, procs *os.File
}

func (h hierarchy) v2() bool { return h.fstype == "cgroup2" }

// hierarchies lists the hierarchies that are mounted, v1 and v2.
func hierarchies() []hierarchy {
	var hs []hierarchy
	for _, m := range mounts() {
		if m.fstype == "cgroup" || m.fstype == "cgroup2" {
			hs = append(hs, hierarchy{mount: m})
		}
	}
	return hs
}

// enterCgroups makes this process's directory in every hierarchy, moves the
// process there and makes that the root of a new cgroup namespace. What it
// returns holds the way back, see [leaveCgroups].
func enterCgroups(hs []hierarchy) ([]hierarchy, error) {
	var entered []hierarchy
	for _, h := range hs {
		var err error
		if h.root, err = os.Open(h.point); err != nil {
			return entered, err
		}
		// Opened before unshare: cgroup v2 asks for the namespace of the opener.
		if h.procs, err = os.OpenFile(filepath.Join(h.point, "cgroup.procs"), os.O_WRONLY, 0); err != nil {
			if errors.Is(err, unix.EROFS) {
				continue // a container's read-only view: left as it is
			}
			return entered, err
		}
		entered = append(entered, h)
		dir := h.point + prefix
		if err := os.Mkdir(dir, 0o755); err != nil {
			return entered, err
		}
		if h.v2() {
			enableControllers(h.point)
		} else if slices.Contains(strings.Split(h.options, ","), "cpuset") {
			// An empty v1 cpuset takes no process.
			for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
				if b, err := os.ReadFile(filepath.Join(h.point, f)); err == nil {
					_ = os.WriteFile(filepath.Join(dir, f), b, 0)
				}
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return entered, err
		}
	}
	return entered, os.NewSyscallError("unshare CLONE_NEWCGROUP", unix.Unshare(unix.CLONE_NEWCGROUP))
}

// enableControllers hands every controller of a v2 directory to its children,
// as far as they go: on the host most are on already.
func enableControllers(dir string) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return
	}
	for _, c := range strings.Fields(string(b)) {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0)
	}
}

// mountCgroups mounts the hierarchies where they were, as the new cgroup
// namespace shows them.
func mountCgroups(hs []hierarchy, old []mount) error {
	for _, m := range old {
		if m.point == cgroupRoot && m.fstype == "tmpfs" {
			if err := unix.Mount("tmpfs", cgroupRoot, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755"); err != nil {
				return fmt.Errorf("mount a new %s: %w", cgroupRoot, err)
			}
		}
	}
	for _, h := range hs {
		_ = unix.Unmount(h.point, unix.MNT_DETACH)
		if err := os.MkdirAll(h.point, 0o755); err != nil {
			return err
		}
		options := ""
		if !h.v2() {
			// Only what names the hierarchy: its controllers and its name.
			var keep []string
			for o := range strings.SplitSeq(h.options, ",") {
				if o != "rw" && o != "ro" && o != "xattr" && o != "clone_children" && !strings.HasPrefix(o, "release_agent=") {
					keep = append(keep, o)
				}
			}
			options = strings.Join(keep, ",")
		}
		if err := unix.Mount(h.source, h.point, h.fstype, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options); err != nil {
			return fmt.Errorf("mount a new %s: %w", h.point, err)
		}
		// With cpu,cpuacct in one hierarchy each also has a link of its own name.
		dir, base := filepath.Split(h.point)
		if strings.Contains(base, ",") {
			for name := range strings.SplitSeq(base, ",") {
				_ = os.Symlink(base, dir+name)
			}
		}
		if h.v2() {
			leaf := filepath.Join(h.point, testsLeaf)
			if err := os.Mkdir(leaf, 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte("0"), 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// leaveCgroups moves this process out of its directories and removes them.
func leaveCgroups(hs []hierarchy) {
	for _, h := range hs {
		_, _ = h.procs.WriteString("0")
		removeTree(fmt.Sprintf("/proc/self/fd/%d%s", h.root.Fd(), prefix))
	}
}

// leftCgroups names the cgroups that are still there, but for the directories
// that are kept for the next one.
func leftCgroups(hs []hierarchy) []string {
	kept := []string{"/", prefix, "/" + testsLeaf, "/drydock"}
	var left []string
	for _, h := range hs {
		_ = filepath.WalkDir(h.point, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil
			}
			if rel := "/" + strings.TrimPrefix(strings.TrimPrefix(path, h.point), "/"); !slices.Contains(kept, rel) {
				left = append(left, fmt.Sprintf("cgroup %s", path))
			}
			return nil
		})
	}
	return left
}

// thaw lets the processes of all frozen v1 cgroups run.
func thaw(hs []hierarchy) {
	for _, h := range hs {
		if h.v2() || !slices.Contains(strings.Split(h.options, ","), "freezer") {
			continue
		}
		_ = filepath.WalkDir(h.point, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				_ = os.WriteFile(filepath.Join(path, "freezer.state"), []byte("THAWED"), 0)
			}
			return nil
		})
	}
}

// removeCgroups removes the directory name and all below it in every hierarchy.
func removeCgroups(hs []hierarchy, name string) {
	for _, h := range hs {
		removeTree(h.point + name)
	}
}

// removeStaleCgroups removes what runs left whose both stages were killed.
func removeStaleCgroups() {
	hs := hierarchies()
	for _, h := range hs {
		found, _ := filepath.Glob(h.point + "/drydock-test-*")
		for _, dir := range found {
			pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), "drydock-test-"))
			if err == nil && unix.Kill(pid, 0) == unix.ESRCH {
				removeTree(dir)
			}
		}
	}
}

// removeTree removes the cgroup directories from the leaves up. One that still
// has processes stays.
func removeTree(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			removeTree(filepath.Join(dir, e.Name()))
		}
	}
	_ = unix.Rmdir(dir)
}
