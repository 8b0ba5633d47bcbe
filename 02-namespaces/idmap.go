//go:build linux

package namespaces

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// mapIDs writes the mappings of the user namespace of the process pid
// (user_namespaces(7)).
//
// An ordinary user may map one id, his own, and gives up setgroups(2) for it:
// else he could leave a group that denies him a file. More ids need a
// privileged helper: newuidmap(1) and newgidmap(1), which are set-user-ID and
// look into /etc/subuid and /etc/subgid for what the user was given.
func mapIDs(ctx context.Context, pid int, uids, gids []specs.LinuxIDMapping) error {
	dir := fmt.Sprintf("/proc/%d/", pid)
	euid, egid := os.Geteuid(), os.Getegid()
	if euid != 0 && !onlyOwn(gids, egid) {
		if err := runIDMap(ctx, "newgidmap", pid, gids); err != nil {
			return err
		}
	} else {
		if euid != 0 {
			if err := writeMap(ctx, dir+"setgroups", "deny", "or a user could leave a group that denies him a file"); err != nil {
				return err
			}
		}
		if err := writeMap(ctx, dir+"gid_map", mapText(gids), "which groups inside are which outside"); err != nil {
			return err
		}
	}
	if euid != 0 && !onlyOwn(uids, euid) {
		return runIDMap(ctx, "newuidmap", pid, uids)
	}
	return writeMap(ctx, dir+"uid_map", mapText(uids), "which users inside are which outside")
}

// firstOf returns who prepares a container in a user namespace with these
// mappings: its root or, where it has none, the user that the program will have.
func firstOf(u specs.User, uids, gids []specs.LinuxIDMapping) (first ids) {
	if len(uids) > 0 && !mapped(uids, "0") {
		first.uid = u.UID
	}
	if len(gids) > 0 && !mapped(gids, "0") {
		first.gid = u.GID
	}
	return first
}

// onlyOwn reports whether a mapping is the one that needs no privilege.
func onlyOwn(m []specs.LinuxIDMapping, id int) bool {
	return len(m) == 1 && m[0].Size == 1 && m[0].HostID == uint32(id)
}

func mapText(m []specs.LinuxIDMapping) string {
	var b strings.Builder
	for _, e := range m {
		fmt.Fprintf(&b, "%d %d %d\n", e.ContainerID, e.HostID, e.Size)
	}
	return b.String()
}

func writeMap(ctx context.Context, file, text, why string) error {
	if text == "" {
		return fmt.Errorf("%s: a new user namespace needs a mapping: see linux.uidMappings and linux.gidMappings", file)
	}
	chapter.Call(ctx, why, "write(%q, %q)", file, text)
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	// One write: the kernel takes a map as a whole, once.
	if _, err := f.WriteString(text); err != nil {
		return fmt.Errorf("write %q to %s: %w", text, file, err)
	}
	return nil
}

func runIDMap(ctx context.Context, program string, pid int, m []specs.LinuxIDMapping) error {
	path, err := exec.LookPath(program)
	if err != nil {
		return fmt.Errorf("map ids other than one's own without root: %w: install the package uidmap", err)
	}
	args := []string{strconv.Itoa(pid)}
	for _, e := range m {
		args = append(args, fmt.Sprint(e.ContainerID), fmt.Sprint(e.HostID), fmt.Sprint(e.Size))
	}
	cmd := exec.CommandContext(ctx, path, args...)
	chapter.Call(ctx, "the kernel lets only root map ids of others; this set-user-ID program knows which ones were given to the user", "execve(%q, %q)", path, cmd.Args)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// OwnUserNamespace gives a spec a new user namespace whose root is the calling
// user, so that it can be created without privilege. Where /etc/subuid and
// /etc/subgid give the user further ids, and newuidmap(1) is installed, they
// are users 1 to N inside; else there is only root. Mount options with ids that
// do not exist inside are taken out.
func OwnUserNamespace(spec *specs.Spec) error {
	uids, gids, err := ownIDs()
	if err != nil {
		return err
	}
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = uids, gids
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	dropGroups(spec.Mounts, gids)
	return nil
}

// ownIDs returns the ids of a user namespace whose root is the calling user.
func ownIDs() (uids, gids []specs.LinuxIDMapping, err error) {
	euid, egid := os.Geteuid(), os.Getegid()
	uids = []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(euid), Size: 1}}
	gids = []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(egid), Size: 1}}
	_, noUID := exec.LookPath("newuidmap")
	_, noGID := exec.LookPath("newgidmap")
	if euid == 0 || noUID == nil && noGID == nil {
		subUIDs, err := subordinate("/etc/subuid", euid)
		if err != nil {
			return nil, nil, err
		}
		subGIDs, err := subordinate("/etc/subgid", euid)
		if err != nil {
			return nil, nil, err
		}
		// With users and without groups, or the other way round, half of chown would fail.
		if len(subUIDs) > 0 && len(subGIDs) > 0 {
			uids, gids = append(uids, subUIDs...), append(gids, subGIDs...)
		}
	}
	return uids, gids, nil
}

// OnlyMappedGroups takes the option gid= out of a spec's mounts where this
// process's user namespace has no such group: the kernel refuses it there. It is
// for containers that stay in the user namespace that [AsRoot] has made.
func OnlyMappedGroups(spec *specs.Spec) error {
	gids, err := readMap("/proc/self/gid_map")
	if err != nil {
		return err
	}
	dropGroups(spec.Mounts, gids)
	return nil
}

// readMap reads a map of a process, /proc/PID/uid_map or gid_map.
func readMap(file string) (m []specs.LinuxIDMapping, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		var e specs.LinuxIDMapping
		if _, err := fmt.Sscan(line, &e.ContainerID, &e.HostID, &e.Size); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", file, line, err)
		}
		m = append(m, e)
	}
	return m, nil
}

// dropGroups takes out of mounts the groups that are not mapped.
func dropGroups(mounts []specs.Mount, gids []specs.LinuxIDMapping) {
	for i, m := range mounts {
		mounts[i].Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool {
			id, ok := strings.CutPrefix(o, "gid=")
			return ok && !mapped(gids, id)
		})
	}
}

func mapped(m []specs.LinuxIDMapping, id string) bool {
	n, err := strconv.ParseUint(id, 10, 32)
	for _, e := range m {
		if err == nil && n >= uint64(e.ContainerID) && n-uint64(e.ContainerID) < uint64(e.Size) {
			return true
		}
	}
	return false
}

// subordinate returns the ids that a file such as /etc/subuid gives to a user,
// by number or name (subuid(5)), mapped to 1, 2, … inside.
func subordinate(file string, uid int) ([]specs.LinuxIDMapping, error) {
	f, err := os.Open(file)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	id, name := strconv.Itoa(uid), userName(uid)
	var m []specs.LinuxIDMapping
	next := uint32(1)
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		field := strings.Split(lines.Text(), ":")
		if len(field) != 3 || field[0] != id && (field[0] != name || name == "") {
			continue
		}
		first, err1 := strconv.ParseUint(field[1], 10, 32)
		count, err2 := strconv.ParseUint(field[2], 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("%s:%d: %q is not USER:FIRST:COUNT: %w", file, n, lines.Text(), err)
		}
		if count > 0 {
			m = append(m, specs.LinuxIDMapping{ContainerID: next, HostID: uint32(first), Size: uint32(count)})
			next += uint32(count)
		}
	}
	return m, lines.Err()
}

// userName returns the name that /etc/passwd has for a user, or "". Package
// os/user would ask further sources, by the C library: a program that is linked
// to one cannot be executed inside of a container (see [openSelf]).
func userName(uid int) string {
	b, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if field := strings.Split(line, ":"); len(field) > 2 && field[2] == strconv.Itoa(uid) {
			return field[0]
		}
	}
	return ""
}
