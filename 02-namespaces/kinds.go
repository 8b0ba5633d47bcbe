//go:build linux

package namespaces

import (
	"fmt"
	"os"
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
	// alone: setns(2) refuses it to a thread that shares its process, its root
	// or its memory with others, as each thread of a Go program does.
	alone bool
}

// kinds are all eight of namespaces(7), in the order in which they are entered.
var kinds = []kind{
	{specs.UserNamespace, "user", unix.CLONE_NEWUSER, "CLONE_NEWUSER", true},
	{specs.CgroupNamespace, "cgroup", unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP", false},
	{specs.IPCNamespace, "ipc", unix.CLONE_NEWIPC, "CLONE_NEWIPC", false},
	{specs.UTSNamespace, "uts", unix.CLONE_NEWUTS, "CLONE_NEWUTS", false},
	{specs.NetworkNamespace, "net", unix.CLONE_NEWNET, "CLONE_NEWNET", false},
	{specs.PIDNamespace, "pid", unix.CLONE_NEWPID, "CLONE_NEWPID", false},
	{specs.TimeNamespace, "time", unix.CLONE_NEWTIME, "CLONE_NEWTIME", true},
	{specs.MountNamespace, "mnt", unix.CLONE_NEWNS, "CLONE_NEWNS", true},
}

// plan says, for each namespace that a spec lists, when it is entered.
type plan struct {
	target   *os.File // the process whose namespaces of the kinds in joined are entered, or nil
	joined   []kind
	join     []join // namespaces that exist, by their paths
	clone    []kind // new ones that clone(2) makes
	unshared []kind // new ones that only unshare(2) can make before the clone: time
	late     []kind // new ones that the process makes itself: cgroup

	uids, gids []specs.LinuxIDMapping // of the new user namespace
	first      ids                    // who prepares the container in its user namespace: see firstOf
	offsets    map[string]specs.LinuxTimeOffset
}

type join struct {
	kind
	path string
}

// newPlan sorts the namespaces of a spec; it refuses unknown and repeated ones.
func newPlan(l *specs.Linux) (plan, error) {
	wanted := map[specs.LinuxNamespaceType]specs.LinuxNamespace{}
	for _, ns := range l.Namespaces {
		if _, twice := wanted[ns.Type]; twice {
			return plan{}, fmt.Errorf("linux.namespaces: type %q stands there twice: name each type once", ns.Type)
		}
		wanted[ns.Type] = ns
	}
	p := plan{uids: l.UIDMappings, gids: l.GIDMappings, offsets: l.TimeOffsets}
	for _, k := range kinds {
		ns, ok := wanted[k.name]
		if !ok {
			continue
		}
		delete(wanted, k.name)
		switch {
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

// forks reports whether the process must be made by fork: see [fork].
func (p plan) forks() bool {
	return p.target != nil || p.entersUser() || slices.ContainsFunc(p.join, func(j join) bool { return j.alone })
}

// entersUser reports whether the process will be in another user namespace.
func (p plan) entersUser() bool {
	isUser := func(k kind) bool { return k.name == specs.UserNamespace }
	return slices.ContainsFunc(p.clone, isUser) || slices.ContainsFunc(p.joined, isUser) ||
		slices.ContainsFunc(p.join, func(j join) bool { return isUser(j.kind) })
}

// isNew reports whether the list asks for a new namespace of the type.
func isNew(list []specs.LinuxNamespace, t specs.LinuxNamespaceType) bool {
	return slices.Contains(list, specs.LinuxNamespace{Type: t})
}

// has reports whether the list names a namespace of the type, new or joined.
func has(list []specs.LinuxNamespace, t specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(list, func(ns specs.LinuxNamespace) bool { return ns.Type == t })
}
