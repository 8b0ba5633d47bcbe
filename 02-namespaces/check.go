//go:build linux

package namespaces

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// checkLinux refuses what would be done to the host because the container has no
// namespace of its own for it, and what is asked for in words that nobody knows.
func checkLinux(spec *specs.Spec) error {
	l := spec.Linux
	lacks := func(t specs.LinuxNamespaceType) bool { return !has(l.Namespaces, t) }
	switch {
	case lacks(specs.MountNamespace) && len(l.MaskedPaths)+len(l.ReadonlyPaths) > 0:
		// Mounts are another matter: the specification allows a container that has the host's mount namespace.
		return errors.New("linux.maskedPaths and linux.readonlyPaths without a mount namespace would be made on the host: add one to linux.namespaces")
	case lacks(specs.TimeNamespace) && len(l.TimeOffsets) > 0:
		return errors.New("linux.timeOffsets without a time namespace: add one to linux.namespaces")
	case lacks(specs.UserNamespace) && len(l.UIDMappings)+len(l.GIDMappings) > 0:
		return errors.New("linux.uidMappings and linux.gidMappings without a user namespace: add one to linux.namespaces")
	}
	for clock := range l.TimeOffsets {
		if clock != "boottime" && clock != "monotonic" {
			return fmt.Errorf("linux.timeOffsets: clock %q is none of boottime, monotonic", clock)
		}
	}
	for key := range l.Sysctl {
		if t := namespaceOf(sysctlPath(key)); t == "" {
			return fmt.Errorf("linux.sysctl: %s is the whole machine's: no namespace has it", key)
		} else if lacks(t) {
			return fmt.Errorf("linux.sysctl: %s would change the host without a %s namespace: add one to linux.namespaces", key, t)
		}
	}
	for i, m := range spec.Mounts {
		if m.Destination == "" {
			return fmt.Errorf("mounts[%d]: destination is empty: name a path in the container", i)
		}
	}
	for field, paths := range map[string][]string{"maskedPaths": l.MaskedPaths, "readonlyPaths": l.ReadonlyPaths} {
		for _, path := range paths {
			if !strings.HasPrefix(path, "/") {
				return fmt.Errorf("linux.%s: %q is not absolute: give it from / on, as seen inside", field, path)
			}
		}
	}
	for _, d := range l.Devices {
		if !strings.HasPrefix(d.Path, "/") {
			return fmt.Errorf("linux.devices: %q is not absolute: give it from / on, as seen inside", d.Path)
		}
	}
	if name := l.RootfsPropagation; name != "" && len(parseMountOptions([]string{name}).propagation) == 0 {
		return fmt.Errorf("linux.rootfsPropagation %q is none of private, slave, shared, unbindable", name)
	}
	return nil
}

// namespaceOf returns the kind of namespace that a kernel parameter, a path below
// /proc/sys, belongs to, or "" (namespaces(7), ipc_namespaces(7), and the kernel's
// admin-guide/sysctl).
func namespaceOf(path string) specs.LinuxNamespaceType {
	switch {
	case strings.HasPrefix(path, "/net/"):
		return specs.NetworkNamespace
	case strings.HasPrefix(path, "/fs/mqueue/"), strings.HasPrefix(path, "/kernel/msg"), strings.HasPrefix(path, "/kernel/shm"), path == "/kernel/sem":
		return specs.IPCNamespace
	case path == "/kernel/hostname", path == "/kernel/domainname":
		return specs.UTSNamespace
	case path == "/kernel/ns_last_pid":
		return specs.PIDNamespace
	case strings.HasPrefix(path, "/user/"):
		return specs.UserNamespace
	}
	return ""
}
