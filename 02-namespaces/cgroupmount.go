//go:build linux

package namespaces

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hierarchy is a line of /proc/thread-self/cgroup (cgroups(7)).
type hierarchy struct {
	fstype      string   // "cgroup", or "cgroup2" for the one without controllers there
	controllers []string // of v1: the options of its mount; name=systemd is one too
	name        string   // of its directory: "cpu,cpuacct", "systemd"
	path        string   // the process's own cgroup, as its cgroup namespace counts
	directory   string   // the same as a path in the mounts of here: what is bound without a cgroup namespace
}

func ownHierarchies() ([]hierarchy, error) {
	list, err := os.ReadFile("/proc/thread-self/cgroup")
	if err != nil {
		return nil, err
	}
	var all []hierarchy
	for line := range strings.Lines(string(list)) {
		field := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(field) != 3 {
			return nil, fmt.Errorf("/proc/thread-self/cgroup: line %q is not ID:CONTROLLERS:PATH", line)
		}
		h := hierarchy{"cgroup", strings.Split(field[1], ","), strings.TrimPrefix(field[1], "name="), field[2], ""}
		if field[1] == "" {
			h = hierarchy{"cgroup2", nil, "unified", field[2], ""}
		}
		all = append(all, h)
	}
	return all, nil
}

// mountCgroups makes the mount of type "cgroup": the container's own cgroup at
// destination, as one cgroup v2 tree, or as a directory with one tree for each
// v1 controller. How cgroups work is chapter 3's matter.
func mountCgroups(p *initProcess, destination string, o mountOptions) error {
	bound := !has(p.Namespaces, specs.CgroupNamespace)
	var fs unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &fs); err != nil {
		return &os.PathError{Op: "statfs", Path: "/sys/fs/cgroup", Err: err}
	}
	all, err := ownHierarchies()
	if err != nil {
		return err
	}
	if bound {
		table, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			return err
		}
		for i := range all {
			all[i].directory = all[i].find(string(table))
		}
		// A hierarchy that is not mounted here is not to be seen inside either.
		all = slices.DeleteFunc(all, func(h hierarchy) bool { return h.directory == "" })
	}
	if fs.Type == unix.CGROUP2_SUPER_MAGIC {
		i := slices.IndexFunc(all, func(h hierarchy) bool { return h.fstype == "cgroup2" })
		if i < 0 {
			return errors.New("this process's cgroup of v2 (/proc/self/cgroup) is below none of the mounts here (/proc/self/mountinfo): mount the hierarchy, or give the container a cgroup namespace")
		}
		return mountHierarchy(p, all[i], destination, o)
	}

	base := mountOptions{attr: o.attr, attrRecursive: o.attrRecursive, text: o.text, data: []string{"mode=755"}}
	base.attr.Attr_set &^= unix.MOUNT_ATTR_RDONLY // until the directories are made
	tree, err := newFilesystem(p, "tmpfs", "cgroup", base)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	if err := attachAt(p, tree, destination, ""); err != nil {
		return err
	}
	for _, h := range all {
		if err := mountHierarchy(p, h, path.Join(destination, h.name), o); err != nil {
			return fmt.Errorf("hierarchy %q: %w", h.name, err)
		}
		for _, alias := range h.controllers {
			if alias == h.name || strings.Contains(alias, "=") {
				continue
			}
			// Controllers that share a hierarchy ("cpu,cpuacct") are looked for by their single names.
			if err := unix.Symlinkat(h.name, tree, alias); err != nil {
				return &os.PathError{Op: "symlinkat", Path: path.Join(destination, alias), Err: err}
			}
		}
	}
	if o.attr.Attr_set&unix.MOUNT_ATTR_RDONLY == 0 {
		return nil
	}
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	return os.NewSyscallError("mount_setattr", err)
}

// mountHierarchy mounts what the cgroup namespace shows of a hierarchy. Without
// a namespace such a mount would begin at the host's root cgroup, so the
// container's own directory is bound instead: neither its neighbours nor the
// host can be seen, let alone be written.
func mountHierarchy(p *initProcess, h hierarchy, destination string, o mountOptions) error {
	var tree int
	var err error
	if h.directory == "" {
		o.data = h.controllers
		tree, err = newFilesystem(p, h.fstype, "cgroup", o)
	} else {
		tree, err = bindMount(p, specs.Mount{Source: h.directory, Destination: destination}, o)
	}
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return attachAt(p, tree, destination, "")
}

// find returns where the mounts of a mountinfo (proc_pid_mountinfo(5)) show
// the cgroup h.path, or "". A mount's root is, like h.path, counted from the
// root of the reader's cgroup namespace, and begins with "/.." outside of that.
func (h hierarchy) find(mountinfo string) string {
	for line := range strings.Lines(mountinfo) {
		mount, source, _ := strings.Cut(line, " - ")
		of, at := strings.Fields(source), strings.Fields(mount)
		if len(of) < 3 || len(at) < 5 || of[0] != h.fstype {
			continue
		}
		options := strings.Split(of[2], ",")
		if slices.ContainsFunc(h.controllers, func(c string) bool { return !slices.Contains(options, c) }) {
			continue
		}
		below, ok := strings.CutPrefix(strings.TrimSuffix(h.path, "/")+"/", strings.TrimSuffix(at[3], "/")+"/")
		if ok && below != ".." && !strings.HasPrefix(below, "../") {
			return path.Join(at[4], below)
		}
	}
	return ""
}
