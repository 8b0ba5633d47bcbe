//go:build linux

package namespaces

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A Namespace is one that somebody is in.
type Namespace struct {
	Kind      string // the link's name under /proc/PID/ns: mnt, net …
	Inode     uint64 // tells it from the others of its kind
	Processes int    // how many are in it
	Pid       int    // the lowest of their ids
	Command   string // of that process
}

// Holds reports whether the process pid is in the namespace.
func (n Namespace) Holds(pid int) bool {
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, n.Kind))
	return err == nil && link == fmt.Sprintf("%s:[%d]", n.Kind, n.Inode)
}

// List returns the namespaces of all processes that the caller can see and may
// look into, by inode. One that only a bind mount or an open descriptor holds
// is not among them.
func List() ([]Namespace, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	type id struct {
		kind  string
		inode uint64
	}
	found := map[id]*Namespace{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		for _, k := range kinds {
			// The link says "uts:[4026531838]".
			link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, k.file))
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
				continue // it has ended, or is somebody else's; or this kernel has none of the kind
			}
			if err != nil {
				return nil, err
			}
			inode, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(link, k.file+":["), "]"), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("/proc/%d/ns/%s leads to %q: %w", pid, k.file, link, err)
			}
			ns := found[id{k.file, inode}]
			if ns == nil {
				ns = &Namespace{Kind: k.file, Inode: inode, Pid: pid}
				found[id{k.file, inode}] = ns
			}
			ns.Processes++
			ns.Pid = min(ns.Pid, pid)
		}
	}
	var list []Namespace
	for _, ns := range found {
		ns.Command = commandOf(ns.Pid)
		list = append(list, *ns)
	}
	slices.SortFunc(list, func(a, b Namespace) int {
		return cmp.Or(cmp.Compare(a.Inode, b.Inode), cmp.Compare(a.Kind, b.Kind))
	})
	return list, nil
}

// commandOf returns a process's command line; that of a kernel thread, which
// has none, is its name in brackets, as in ps(1).
func commandOf(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if line = bytes.TrimRight(line, "\x00"); len(line) > 0 {
		return string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
	}
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return "[" + string(bytes.TrimSpace(name)) + "]"
}
