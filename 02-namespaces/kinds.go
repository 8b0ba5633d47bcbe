//go:build linux

package namespaces

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/explain"
)

const chapter explain.Chapter = 2

// A kind is one type of namespace.
type kind struct {
	name specs.LinuxNamespaceType
	file string // the link's name under /proc/PID/ns
	flag uintptr
	text string // the flag as strace prints it
}

// kinds are all eight of namespaces(7), in the order in which they are joined:
// the user namespace first, because it decides what may be done in the others,
// and the mount namespace last, because the paths of the others lie in the old one.
var kinds = []kind{
	{specs.UserNamespace, "user", unix.CLONE_NEWUSER, "CLONE_NEWUSER"},
	{specs.CgroupNamespace, "cgroup", unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"},
	{specs.IPCNamespace, "ipc", unix.CLONE_NEWIPC, "CLONE_NEWIPC"},
	{specs.UTSNamespace, "uts", unix.CLONE_NEWUTS, "CLONE_NEWUTS"},
	{specs.NetworkNamespace, "net", unix.CLONE_NEWNET, "CLONE_NEWNET"},
	{specs.PIDNamespace, "pid", unix.CLONE_NEWPID, "CLONE_NEWPID"},
	{specs.TimeNamespace, "time", unix.CLONE_NEWTIME, "CLONE_NEWTIME"},
	{specs.MountNamespace, "mnt", unix.CLONE_NEWNS, "CLONE_NEWNS"},
}

// plan says, for each namespace that a spec lists, when it is entered.
type plan struct {
	clone    []kind // new ones that clone(2) makes
	join     []join // existing ones, entered by setns(2) before the clone
	unshared []kind // new ones that only unshare(2) can make before the clone: time
	late     []kind // new ones that the process makes itself: cgroup
}

type join struct {
	kind
	path string
}

// newPlan sorts the namespaces of a spec; it refuses unknown and repeated ones.
func newPlan(list []specs.LinuxNamespace) (plan, error) {
	wanted := map[specs.LinuxNamespaceType]specs.LinuxNamespace{}
	for _, ns := range list {
		if _, twice := wanted[ns.Type]; twice {
			return plan{}, fmt.Errorf("linux.namespaces: type %q stands there twice: name each type once", ns.Type)
		}
		wanted[ns.Type] = ns
	}
	var p plan
	for _, k := range kinds {
		ns, ok := wanted[k.name]
		if !ok {
			continue
		}
		delete(wanted, k.name)
		switch {
		case ns.Path != "" && k.name == specs.UserNamespace:
			return plan{}, fmt.Errorf("linux.namespaces: user namespace %q: a Go program has several threads, and setns(2) refuses a user namespace to those: leave path empty for a new one", ns.Path)
		case ns.Path != "":
			p.join = append(p.join, join{k, ns.Path})
		case k.name == specs.TimeNamespace:
			p.unshared = append(p.unshared, k)
		case k.name == specs.CgroupNamespace:
			p.late = append(p.late, k)
		default:
			p.clone = append(p.clone, k)
		}
	}
	for t := range wanted {
		return plan{}, fmt.Errorf("linux.namespaces: type %q is none of user, cgroup, ipc, uts, network, pid, time, mount", t)
	}
	return p, nil
}

// isNew reports whether the list asks for a new namespace of the type.
func isNew(list []specs.LinuxNamespace, t specs.LinuxNamespaceType) bool {
	return slices.Contains(list, specs.LinuxNamespace{Type: t})
}

// has reports whether the list names a namespace of the type, new or joined.
func has(list []specs.LinuxNamespace, t specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(list, func(ns specs.LinuxNamespace) bool { return ns.Type == t })
}
