//go:build linux

package cgroupfs

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
)

// Mount is one mounted cgroup hierarchy.
type Mount struct {
	Dir         string   // where it is mounted
	Root        string   // which cgroup of the hierarchy stands there; "/" on a host, deeper in some containers
	Controllers []string // v1: "cpu", "cpuacct", "name=systemd" …; v2: nil, as cgroup.controllers tells
}

// Mounts is what this process can see of the kernel's hierarchies.
type Mounts struct {
	V1 []Mount // in the order of the mount table
	V2 *Mount  // nil where no cgroup2 is mounted
}

// Unified says whether the controllers that make a container (memory, cpu,
// pids) are on v2. A v1 hierarchy of another controller may stand beside, as
// some VPN programs mount net_cls.
func (m Mounts) Unified() bool {
	if m.V2 == nil {
		return false
	}
	return !slices.ContainsFunc(m.V1, func(h Mount) bool {
		return slices.ContainsFunc(h.Controllers, func(c string) bool {
			return c == "memory" || c == "cpu" || c == "pids"
		})
	})
}

// ReadMounts returns the hierarchies in /proc/self/mountinfo, which is read
// once in a process's life: they do not move while a container engine runs.
// A host without any gives an error of kind FailedPrecondition.
var ReadMounts = sync.OnceValues(func() (Mounts, error) {
	b, err := Read("/proc/self/mountinfo")
	if err != nil {
		return Mounts{}, err
	}
	m, err := parseMounts(b)
	if err != nil {
		return Mounts{}, err
	}
	if len(m.V1) == 0 && m.V2 == nil {
		return Mounts{}, errdefs.ErrFailedPrecondition.WithMessage("no cgroup file system is mounted here: `mount -t cgroup2 cgroup2 /sys/fs/cgroup` mounts it")
	}
	return m, nil
})

// parseMounts reads the format of proc_pid_mountinfo(5):
//
//	31 23 0:28 /root /mount/point rw,relatime shared:1 - cgroup source rw,cpu,cpuacct
func parseMounts(mountinfo []byte) (Mounts, error) {
	var m Mounts
	seen := map[string]bool{}
	for line := range bytes.Lines(mountinfo) {
		if !bytes.Contains(line, []byte(" - cgroup")) {
			continue
		}
		left, right, _ := strings.Cut(strings.TrimSpace(string(line)), " - ")
		fields, super := strings.Fields(left), strings.Fields(right)
		if len(fields) < 6 || len(super) < 3 {
			return Mounts{}, fmt.Errorf("/proc/self/mountinfo: unknown line %q", line)
		}
		mount := Mount{Root: unescape(fields[3]), Dir: unescape(fields[4])}
		switch super[0] {
		case "cgroup2":
			// The same hierarchy may be mounted again, for a container or by a
			// bind: the first one that shows the whole of it is the host's.
			if m.V2 == nil || m.V2.Root != "/" && mount.Root == "/" {
				m.V2 = &mount
			}
		case "cgroup":
			for option := range strings.SplitSeq(super[2], ",") {
				if isController(option) {
					mount.Controllers = append(mount.Controllers, option)
				}
			}
			name := strings.Join(mount.Controllers, ",")
			if name != "" && !seen[name] {
				seen[name] = true
				m.V1 = append(m.V1, mount)
			}
		}
	}
	return m, nil
}

// isController tells the controllers among a v1 mount's options from the rest
// (cgroups(7), "Mounting v1 controllers").
func isController(option string) bool {
	switch option {
	case "rw", "ro", "none", "all", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "favordynmods", "nofavordynmods", "release_agent":
		return false
	}
	key, _, hasValue := strings.Cut(option, "=")
	return !hasValue || key == "name"
}

// unescape undoes the octal escapes of the mount table (space, tab, newline,
// backslash).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
