//go:build linux

package cgroupfs

import (
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
)

// Clean checks the name of a cgroup that came from outside (a bundle's
// cgroupsPath, a command line) and returns it without double slashes, dots and
// a last slash. Absolute names begin at the root of each hierarchy, relative
// ones below this process's own cgroup. Errors are of kind InvalidArgument.
func Clean(name string) (string, error) {
	invalid := func(why string) (string, error) {
		return "", errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("cgroup path %q: %s", name, why))
	}
	if name == "" {
		return invalid("it is empty")
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return invalid(`".." would leave the part of the tree that is given`)
		case len(part) > 255:
			return invalid("a part of it is longer than 255 bytes")
		case strings.ContainsAny(part, "\x00\n"):
			return invalid("it holds a zero byte or a newline")
		}
	}
	clean := path.Clean(name)
	if clean == "/" || clean == "." {
		return invalid("that is no new cgroup: name one, as in /drydock/box")
	}
	return clean, nil
}

// Own returns this process's cgroup in a v1 hierarchy (any of its
// controllers), or in v2 for "", as /proc/self/cgroup shows it. It is read once
// in a process's life.
func Own(controller string) (string, error) {
	own, err := readOwn()
	if err != nil {
		return "", err
	}
	return lookUp(own, "self", controller)
}

var readOwn = sync.OnceValues(func() (map[string]string, error) { return readCgroup("self") })

// Of is [Own] for another process.
func Of(pid int, controller string) (string, error) {
	process := strconv.Itoa(pid)
	m, err := readCgroup(process)
	if err != nil {
		return "", err
	}
	return lookUp(m, process, controller)
}

func readCgroup(process string) (map[string]string, error) {
	b, err := Read("/proc/" + process + "/cgroup")
	if err != nil {
		return nil, err
	}
	return parseCgroup(string(b))
}

func lookUp(cgroups map[string]string, process, controller string) (string, error) {
	dir, ok := cgroups[controller]
	if !ok {
		return "", errdefs.ErrNotFound.WithMessage(fmt.Sprintf("/proc/%s/cgroup has no line for %q", process, controller))
	}
	return dir, nil
}

// parseCgroup reads the format of cgroups(7): "4:memory:/path", "0::/path" for v2.
func parseCgroup(s string) (map[string]string, error) {
	own := map[string]string{}
	for line := range strings.Lines(s) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			return nil, fmt.Errorf("/proc/PID/cgroup: unknown line %q", line)
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			own[controller] = parts[2]
		}
	}
	return own, nil
}

// Locate returns the directory of cgroup name (see [Clean]) in a hierarchy.
// own is this process's cgroup there; it is asked for only when name is
// relative.
func (m Mount) Locate(name string, own func() (string, error)) (string, error) {
	if path.IsAbs(name) {
		return filepath.Join(m.Dir, name), nil
	}
	base, err := own()
	if err != nil {
		return "", err
	}
	// A mount that shows a part of the hierarchy (Root) has no directory for
	// what lies beside that part.
	rel, err := filepath.Rel(m.Root, base)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("cgroup path %q: own cgroup %s is not below %s, which is what is mounted at %s", name, base, m.Root, m.Dir))
	}
	return filepath.Join(m.Dir, rel, name), nil
}
