//go:build linux

package namespaces

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/doctor"
)

// inContainer is the cure where another engine's rules hold.
const inContainer = "docker run --privileged …    # when this is the inside of a container; or work on the host"

// Checks returns this chapter's questions to the host.
func Checks() []doctor.Check {
	return []doctor.Check{
		{Chapter: chapter, Name: "namespaces", For: "a process's own view of the machine", Run: checkNamespaces},
		{Chapter: chapter, Name: "pivot_root", For: "a root that cannot be left", Run: checkPivot},
		{Chapter: chapter, Name: "system calls", For: "mounts that no symbolic link leads astray", Run: func(context.Context) doctor.Result { return checkCalls(needed) }},
		{Chapter: chapter, Name: "user namespaces", For: "containers without root, and root in a container who is nobody outside", Run: checkUser},
		{Chapter: chapter, Name: "subordinate ids", For: "containers without root that have more than one user in them", Run: func(context.Context) doctor.Result { return checkSubordinate() }},
		{Chapter: chapter, Name: "time namespaces", For: "a container with its own time since boot", Run: checkTime},
		{Chapter: chapter, Name: "seccomp", For: "containers that cannot make every system call", Run: func(context.Context) doctor.Result { return checkSeccomp() }},
	}
}

// checkNamespaces enters a new namespace of each kind that a container always has.
func checkNamespaces(ctx context.Context) doctor.Result {
	var failed []string
	for _, k := range kinds {
		if k.flag == unix.CLONE_NEWUSER || k.flag == unix.CLONE_NEWTIME {
			continue // have checks of their own
		}
		err := doctor.Apart(ctx, int(k.flag), func() error { return nil })
		if errors.Is(err, unix.EPERM) && os.Geteuid() != 0 {
			return doctor.NeedsRoot()
		}
		if err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", k.file, errors.Unwrap(err)))
		}
	}
	return namespacesFound(failed)
}

func namespacesFound(failed []string) doctor.Result {
	if len(failed) == 0 {
		return doctor.Fine("mnt, uts, ipc, net, pid and cgroup")
	}
	return doctor.Result{
		Status: doctor.Missing, Found: strings.Join(failed, ", "),
		Why:  "EINVAL: the kernel was built without it; EPERM: this is the inside of a container; ENOSPC: user.max_*_namespaces allows no more",
		Cure: []string{"sysctl -a | grep 'user.max_.*_namespaces'    # what is allowed", inContainer},
	}
}

// checkPivot makes an empty file system the root of a mount namespace.
func checkPivot(ctx context.Context) doctor.Result {
	err := doctor.Apart(ctx, unix.CLONE_NEWNS, func() error {
		dir := os.TempDir()
		chapter.Call(ctx, "a mount that can become the root", "mount(\"tmpfs\", %q, \"tmpfs\", 0, NULL)", dir)
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			return &os.PathError{Op: "mount tmpfs", Path: dir, Err: err}
		}
		chapter.Call(ctx, "to name it without its path", "chdir(%q)", dir)
		if err := unix.Chdir(dir); err != nil {
			return &os.PathError{Op: "chdir", Path: dir, Err: err}
		}
		chapter.Call(ctx, "the new root takes the place of the old", `pivot_root(".", ".")`)
		return os.NewSyscallError("pivot_root", unix.PivotRoot(".", "."))
	})
	return pivoted(os.Geteuid(), err)
}

func pivoted(euid int, err error) doctor.Result {
	switch {
	case err == nil:
		return doctor.Fine("works")
	case errors.Is(err, unix.EPERM) && euid != 0:
		return doctor.NeedsRoot()
	case errors.Is(err, unix.EINVAL):
		return doctor.Result{
			Status: doctor.Missing, Found: err.Error(),
			Why:  "the host's / is the kernel's first file system (an initramfs), which has nothing above it to be swapped with",
			Cure: []string{"boot from a disk, or have the initramfs run switch_root into a tmpfs"},
		}
	}
	return doctor.Result{
		Status: doctor.Missing, Found: err.Error(),
		Why:  "root lacks CAP_SYS_ADMIN, or a seccomp filter or a security module refuses mounts",
		Cure: []string{inContainer},
	}
}

// A systemCall is one that Create cannot do without, called so that it fails at once.
type systemCall struct {
	name, since string
	number      uintptr
}

var needed = []systemCall{
	{"openat2", "5.6", unix.SYS_OPENAT2}, {"open_tree", "5.2", unix.SYS_OPEN_TREE}, {"move_mount", "5.2", unix.SYS_MOVE_MOUNT},
	{"mount_setattr", "5.12", unix.SYS_MOUNT_SETATTR}, {"pidfd_open", "5.3", unix.SYS_PIDFD_OPEN}, {"close_range", "5.9", unix.SYS_CLOSE_RANGE},
}

// checkCalls calls each with arguments that no call accepts. A kernel that does
// not have it says ENOSYS, and so may a filter that is older than the call.
func checkCalls(calls []systemCall) doctor.Result {
	var lacks, names []string
	for _, c := range calls {
		names = append(names, c.name)
		bad := ^uintptr(0)
		if _, _, errno := unix.RawSyscall6(c.number, bad, 0, 0, 0, 0, 0); errno == unix.ENOSYS {
			lacks = append(lacks, fmt.Sprintf("%s (Linux %s)", c.name, c.since))
		}
	}
	if len(lacks) == 0 {
		return doctor.Fine("%s", strings.Join(names, ", "))
	}
	return doctor.Result{
		Status: doctor.Missing, Found: "ENOSYS from " + strings.Join(lacks, ", "),
		Why:  "the kernel is older than that, or this is a container whose engine's seccomp filter is",
		Cure: []string{"uname -r    # is it older?", "docker run --security-opt seccomp=unconfined …    # when this is the inside of a container"},
	}
}

// errEntered is what a process says that got everything it asked for and then
// finds no program to execute.
const errEntered = unix.ENOENT

// tryUser starts a process in a new user namespace that mounts something in
// there, and then ends. No code of ours runs in it: its program does not exist.
// The mount matters: a security module may let the namespace be made and give
// no capability in it.
func tryUser(ctx context.Context) error {
	chapter.Call(ctx, "a process that is root in a user namespace of its own", "clone(CLONE_NEWUSER|SIGCHLD)")
	chapter.Call(ctx, "may it mount there?", `unshare(CLONE_NEWNS) = 0; mount("none", "/", NULL, MS_REC|MS_PRIVATE, NULL)`)
	_, err := syscall.ForkExec("/proc/self/no-such-program", []string{"none"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{
		Cloneflags:   unix.CLONE_NEWUSER,
		Unshareflags: unix.CLONE_NEWNS,
		UidMappings:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}})
	return err
}

// A block is a setting that keeps ordinary users from user namespaces.
type block struct{ key, value, why, cure string }

// blocks reads, by their names, the settings of distributions and kernel.
func blocks(read func(key string) (value string)) []block {
	var found []block
	for _, b := range []block{
		{"user.max_user_namespaces", "0", "it is how many user namespaces a user may have", "sudo sysctl -w user.max_user_namespaces=15000"},
		{"kernel.unprivileged_userns_clone", "0", "Debian's kernel lets root alone make them", "sudo sysctl -w kernel.unprivileged_userns_clone=1"},
		{"kernel.apparmor_restrict_unprivileged_userns", "1", "AppArmor, since Ubuntu 23.10, takes all capabilities away in a user namespace unless the program has a profile",
			"sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		if read(b.key) == b.value {
			found = append(found, b)
		}
	}
	return found
}

func sysctl(key string) string {
	b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(key, ".", "/"))
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(b))
}

func checkUser(ctx context.Context) doctor.Result {
	return userFound(os.Geteuid(), tryUser(ctx), blocks(sysctl))
}

func userFound(euid int, err error, blocked []block) doctor.Result {
	r := doctor.Result{Status: doctor.Limited, Breaks: "containers without root"}
	switch {
	case errors.Is(err, errEntered) && len(blocked) == 0:
		return doctor.Fine("work, for ordinary users too")
	case errors.Is(err, errEntered) && euid == 0:
		r.Found = "root may make them, ordinary users may not"
	case errors.Is(err, errEntered):
		return doctor.Fine("work for this program")
	default:
		r.Found = "a process in a new one: " + err.Error()
		r.Breaks = "containers without root, and user namespaces for root's containers"
	}
	for _, b := range blocked {
		r.Found += fmt.Sprintf("; %s is %s", b.key, b.value)
		r.Why += fmt.Sprintf("%s: %s. ", b.key, b.why)
		r.Cure = append(r.Cure, b.cure+"    # until the next boot; a line in /etc/sysctl.d/ keeps it")
	}
	r.Why = strings.TrimSpace(r.Why)
	if len(blocked) == 0 {
		switch {
		case errors.Is(err, unix.EINVAL):
			r.Why, r.Cure = "the kernel was built without CONFIG_USER_NS", []string{"use a distribution's kernel"}
		case errors.Is(err, unix.ENOSPC):
			r.Why = "user.max_user_namespaces are in use, here or in a user namespace around this one, or they are nested 33 deep"
			r.Cure = []string{"lsns -t user    # who has them", "sudo sysctl -w user.max_user_namespaces=15000"}
		default:
			r.Why = "no setting forbids it: a seccomp filter or a security module does, or this process is in a chroot"
			r.Cure = []string{"docker run --security-opt seccomp=unconfined …    # when this is the inside of a container", "sudo dmesg | tail    # what a security module says"}
		}
	}
	return r
}

// checkSubordinate looks for the ranges of newuidmap(1), by which an ordinary
// user gets more ids than his own.
func checkSubordinate() doctor.Result {
	if os.Geteuid() == 0 {
		return doctor.Fine("root needs none")
	}
	uid := os.Geteuid()
	var lacks []string
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		b, _ := os.ReadFile(file)
		if !hasRange(string(b), userName(uid), strconv.Itoa(uid)) {
			lacks = append(lacks, "no range in "+file)
		}
	}
	for _, program := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(program); err != nil {
			lacks = append(lacks, "no program "+program)
		}
	}
	return subordinateFound(cmp.Or(userName(uid), strconv.Itoa(uid)), lacks)
}

// hasRange reads subuid(5): NAME:FIRST:COUNT, where NAME may be a number.
func hasRange(file, name, uid string) bool {
	for line := range strings.Lines(file) {
		if owner, _, _ := strings.Cut(line, ":"); owner == name || owner == uid {
			return true
		}
	}
	return false
}

func subordinateFound(name string, lacks []string) doctor.Result {
	if len(lacks) == 0 {
		return doctor.Fine("newuidmap and newgidmap, and ranges for %s", name)
	}
	return doctor.Result{
		Status: doctor.Limited, Found: strings.Join(lacks, ", "),
		Breaks: "a second user in a rootless container: chown and setuid say EINVAL",
		Why:    "an ordinary user may map his own id alone; newuidmap(1) maps those that /etc/subuid gives him",
		Cure:   []string{"sudo apt install uidmap    # or shadow-utils", "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 " + name},
	}
}

func checkTime(ctx context.Context) doctor.Result {
	if _, err := os.Stat("/proc/self/ns/time"); err != nil {
		return noTime(err)
	}
	err := doctor.Apart(ctx, unix.CLONE_NEWTIME, func() error { return nil })
	switch {
	case err == nil:
		return doctor.Fine("work")
	case errors.Is(err, unix.EPERM) && os.Geteuid() != 0:
		return doctor.NeedsRoot()
	}
	return noTime(err)
}

func noTime(err error) doctor.Result {
	return doctor.Result{
		Status: doctor.Limited, Found: err.Error(), Breaks: "a container that asks for a time namespace; Docker's never do",
		Why:  "the kernel was built without CONFIG_TIME_NS, which User-Mode Linux and 32-bit ARM cannot have",
		Cure: []string{"use a distribution's kernel, on a real or virtual machine"},
	}
}

// checkSeccomp asks for a filter that lies nowhere: a kernel that knows filters
// says EFAULT, one without says EINVAL or ENOSYS (seccomp(2)).
func checkSeccomp() doctor.Result {
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, 0)
	mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	return seccompFound(errno, err == nil && mode == unix.SECCOMP_MODE_FILTER)
}

func seccompFound(errno unix.Errno, filtered bool) doctor.Result {
	switch {
	case errno != unix.EFAULT && errno != unix.EACCES: // EACCES: an ordinary user without no_new_privs
		return doctor.Result{
			Status: doctor.Limited, Found: "seccomp: " + errno.Error(), Breaks: "seccomp profiles: a container may make every system call that its capabilities allow",
			Why:  "the kernel was built without CONFIG_SECCOMP_FILTER",
			Cure: []string{"use a distribution's kernel"},
		}
	case filtered:
		return doctor.Fine("works; this process is filtered already, as in a container")
	}
	return doctor.Fine("works")
}
