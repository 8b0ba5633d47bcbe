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
	"time"

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
	// root is the mounted directory as the host has it, and home the open
	// cgroup.procs of where this process came from and of the root: through
	// them the namespace can be left. nil outside it.
	root *os.File
	home []*os.File
}

func (h hierarchy) v2() bool { return h.fstype == "cgroup2" }

// key is what /proc/self/cgroup calls the hierarchy: its controllers or
// name=NAME, and nothing for v2.
func (h hierarchy) key() string {
	if h.v2() {
		return ""
	}
	var names []string
	for o := range strings.SplitSeq(h.options, ",") {
		switch {
		case o == "rw" || o == "ro" || o == "xattr" || o == "clone_children" || o == "noprefix":
		case strings.HasPrefix(o, "release_agent="):
		default:
			names = append(names, o)
		}
	}
	return strings.Join(names, ",")
}

// ownCgroups returns the path of this process's cgroup in every hierarchy, by
// its key (cgroups(7)).
func ownCgroups() map[string]string {
	own := map[string]string{}
	b, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(b)) {
		if f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3); len(f) == 3 {
			own[f[1]] = f[2]
		}
	}
	return own
}

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
	own := ownCgroups()
	for _, h := range hs {
		var err error
		if h.root, err = os.Open(h.point); err != nil {
			return entered, err
		}
		// Opened before unshare: cgroup v2 asks for the namespace of the opener.
		for _, dir := range []string{h.point + own[h.key()], h.point} {
			procs, err := os.OpenFile(filepath.Join(dir, "cgroup.procs"), os.O_WRONLY, 0)
			if err == nil {
				h.home = append(h.home, procs)
			} else if !errors.Is(err, unix.EROFS) && !errors.Is(err, fs.ErrNotExist) {
				return entered, err
			}
		}
		if len(h.home) == 0 {
			continue // a container's read-only view: left as it is
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
		if err := unix.Mount(h.source, h.point, h.fstype, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, h.key()); err != nil {
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
		for _, procs := range h.home {
			if _, err := procs.WriteString("0"); err == nil {
				break
			}
		}
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

// removeStale removes what runs left whose both stages were killed: cgroups and
// scratch directories. Both are named after the process.
func removeStale() {
	dead := func(name, before, after string) bool {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, before), after)
		pid, err := strconv.Atoi(number)
		return err == nil && unix.Kill(pid, 0) == unix.ESRCH
	}
	for _, h := range hierarchies() {
		found, _ := filepath.Glob(h.point + "/drydock-test-*")
		for _, dir := range found {
			if dead(filepath.Base(dir), "drydock-test-", "/") {
				removeTree(dir)
			}
		}
	}
	found, _ := filepath.Glob(filepath.Join(os.TempDir(), "dd[0-9]*-*"))
	for _, dir := range found {
		if dead(filepath.Base(dir), "dd", "-") {
			_ = os.RemoveAll(dir)
		}
	}
}

// removeTree removes the cgroup directories from the leaves up. One that still
// has processes after a second stays.
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
	// A process that has been waited for may count a moment longer.
	for deadline := time.Now().Add(time.Second); unix.Rmdir(dir) == unix.EBUSY && time.Now().Before(deadline); {
		awaitChange(dir)
	}
}

// awaitChange returns when cgroup.events of a v2 cgroup changes ("populated 0"),
// or soon: v1 has no such file, and the change may have come before the call.
func awaitChange(dir string) {
	var poll []unix.PollFd
	if f, err := os.Open(filepath.Join(dir, "cgroup.events")); err == nil {
		defer f.Close()
		poll = []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}}
	}
	_, _ = unix.Poll(poll, 2)
}
