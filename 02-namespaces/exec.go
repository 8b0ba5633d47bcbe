//go:build linux

package namespaces

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// OpenProcess returns a pidfd of the process pid: unlike the number, it can
// never mean another process (pidfd_open(2)). Who has to tell whether pid is
// still the process that he knew looks after the call, by its start time for
// example.
func OpenProcess(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, os.NewSyscallError("pidfd_open", err))
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of %d", pid)), nil
}

// Exec starts one more process in a container that runs: in all namespaces,
// and with the root directory, of the process behind the pidfd target. As
// after [Create], it waits before execve(2) of process.Args, for
// [Process.Start]. Prestart and State have no meaning here.
//
// Where process.Rlimits does not say how many files it may open, it gets the
// target's limit.
func Exec(ctx context.Context, target *os.File, process *specs.Process, opt Options) (*Process, error) {
	if err := checkProcess(process); err != nil {
		return nil, err
	}
	pid, err := pidOf(target)
	if err != nil {
		return nil, err
	}
	p := plan{target: target}
	for _, k := range kinds {
		// A user namespace cannot be entered by who is in it: what is shared is left out.
		same, err := sameNamespace(pid, k.file)
		if err != nil {
			return nil, err
		}
		if !same {
			p.joined = append(p.joined, k)
		}
	}
	if p.entersUser() {
		uids, err := readMap(fmt.Sprintf("/proc/%d/uid_map", pid))
		if err != nil {
			return nil, err
		}
		gids, err := readMap(fmt.Sprintf("/proc/%d/gid_map", pid))
		if err != nil {
			return nil, err
		}
		p.first = firstOf(process.User, uids, gids)
	}
	s := &setup{Process: withFileLimit(process, pid), Bound: opt.Bound, Files: len(opt.Files), Keyring: opt.Keyring}
	s.Seccomp = newFilter(opt.Seccomp)
	return launch(ctx, p, s, opt)
}

// pidOf returns the process id of a pidfd (proc_pid_fdinfo(5)).
func pidOf(pidfd *os.File) (int, error) {
	f, err := os.Open(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd.Fd()))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if field, ok := strings.CutPrefix(lines.Text(), "Pid:"); ok {
			pid, err := strconv.Atoi(strings.TrimSpace(field))
			switch {
			case err != nil:
				return 0, fmt.Errorf("%s: %w", f.Name(), err)
			case pid <= 0:
				return 0, fmt.Errorf("%s: the process has ended: %w", pidfd.Name(), unix.ESRCH)
			}
			return pid, nil
		}
	}
	return 0, cmp.Or(lines.Err(), fmt.Errorf("%s is not a pidfd: open the process by OpenProcess", pidfd.Name()))
}

// sameNamespace reports whether the process is in this one's namespace of a kind.
func sameNamespace(pid int, file string) (bool, error) {
	var own, other unix.Stat_t
	err := unix.Stat("/proc/self/ns/"+file, &own)
	if errors.Is(err, unix.ENOENT) {
		return true, nil // this kernel has none of the kind
	}
	path := fmt.Sprintf("/proc/%d/ns/%s", pid, file)
	if err := unix.Stat(path, &other); err != nil {
		return false, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return own.Dev == other.Dev && own.Ino == other.Ino, nil
}

// withFileLimit returns the process with a limit of open files: that of the
// process pid, or the kernel's default when pid is 0. A Go program raises its
// own limit when it starts and takes that back for what os.StartProcess makes,
// but not for what is made by [fork].
func withFileLimit(p *specs.Process, pid int) *specs.Process {
	if slices.ContainsFunc(p.Rlimits, func(l specs.POSIXRlimit) bool { return l.Type == "RLIMIT_NOFILE" }) {
		return p
	}
	var l unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &l); err != nil {
		return p
	}
	if pid == 0 {
		l.Cur = min(1024, l.Max)
	}
	limited := *p
	limited.Rlimits = append(slices.Clip(p.Rlimits), specs.POSIXRlimit{Type: "RLIMIT_NOFILE", Soft: l.Cur, Hard: l.Max})
	return &limited
}
