//go:build linux

package namespaces

import (
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// mountCgroups makes the mount of type "cgroup": the container's own cgroup at
// destination, as one cgroup v2 tree, or as a directory with one tree for each
// v1 controller. How cgroups work is chapter 3's matter; what is mounted is
// the view that the cgroup namespace gives.
func mountCgroups(p *initProcess, destination string, o mountOptions) error {
	if !has(p.Namespaces, specs.CgroupNamespace) {
		// Without a namespace a new mount would begin at the host's root cgroup: show the host's, but let nothing be written.
		tree, err := cloneTree(p.ctx, "/sys/fs/cgroup", true)
		if err != nil {
			return err
		}
		defer unix.Close(tree)
		o.attrRecursive.Attr_set |= unix.MOUNT_ATTR_RDONLY
		if err := setAttributes(p.ctx, tree, o, destination); err != nil {
			return err
		}
		return attachAt(p, tree, destination, "")
	}
	var fs unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &fs); err != nil {
		return &os.PathError{Op: "statfs", Path: "/sys/fs/cgroup", Err: err}
	}
	if fs.Type == unix.CGROUP2_SUPER_MAGIC {
		return mountHierarchy(p, "cgroup2", nil, destination, o)
	}

	list, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
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
	for line := range strings.Lines(string(list)) {
		field := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(field) != 3 {
			return fmt.Errorf("/proc/self/cgroup: line %q is not ID:CONTROLLERS:PATH", line)
		}
		fstype, options, name := "cgroup", strings.Split(field[1], ","), strings.TrimPrefix(field[1], "name=")
		if field[1] == "" {
			fstype, options, name = "cgroup2", nil, "unified" // a hybrid host
		}
		if err := mountHierarchy(p, fstype, options, path.Join(destination, name), o); err != nil {
			return fmt.Errorf("hierarchy %q: %w", name, err)
		}
		for _, alias := range options {
			if alias == name || strings.Contains(alias, "=") {
				continue
			}
			// Controllers that share a hierarchy ("cpu,cpuacct") are looked for by their single names.
			if err := unix.Symlinkat(name, tree, alias); err != nil {
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

func mountHierarchy(p *initProcess, fstype string, options []string, destination string, o mountOptions) error {
	o.data = options
	tree, err := newFilesystem(p, fstype, "cgroup", o)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return attachAt(p, tree, destination, "")
}
