//go:build linux

package seccomp

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// retUserNotif is SECCOMP_RET_USER_NOTIF of linux/seccomp.h.
const retUserNotif = 0x7fc0_0000

// actions are what a filter can answer (seccomp(2)). The number of an errno
// stands in the lower 16 bits.
var actions = [...]struct {
	name      specs.LinuxSeccompAction
	ret       uint32
	withErrno bool
}{
	{specs.ActKill, unix.SECCOMP_RET_KILL_THREAD, false},
	{specs.ActKillProcess, unix.SECCOMP_RET_KILL_PROCESS, false},
	{specs.ActKillThread, unix.SECCOMP_RET_KILL_THREAD, false},
	{specs.ActTrap, unix.SECCOMP_RET_TRAP, false},
	{specs.ActErrno, unix.SECCOMP_RET_ERRNO, true},
	{specs.ActTrace, unix.SECCOMP_RET_TRACE, true},
	{specs.ActAllow, unix.SECCOMP_RET_ALLOW, false},
	{specs.ActLog, unix.SECCOMP_RET_LOG, false},
	{specs.ActNotify, retUserNotif, false},
}

// maxErrno is the highest that a call can return (MAX_ERRNO of linux/err.h).
const maxErrno = 4095

// answer is the value that a filter returns for an action. Without a number it
// is EPERM, as the specification has it.
func answer(field, errnoField string, a specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	for _, known := range actions {
		if known.name != a {
			continue
		}
		switch {
		case !known.withErrno && errno != nil:
			return 0, fmt.Errorf("%s: %d: %s returns no errno: remove it", errnoField, *errno, a)
		case !known.withErrno:
			return known.ret, nil
		case errno == nil:
			return known.ret | uint32(unix.EPERM), nil
		case *errno > maxErrno:
			return 0, fmt.Errorf("%s: %d: want an errno, 0 to %d", errnoField, *errno, maxErrno)
		}
		return known.ret | uint32(*errno), nil
	}
	return 0, fmt.Errorf("%s: %q: want one of %q", field, a, Actions())
}

// Actions are the names of the actions that a profile can ask for.
func Actions() []specs.LinuxSeccompAction {
	list := make([]specs.LinuxSeccompAction, len(actions))
	for i, a := range actions {
		list[i] = a.name
	}
	return list
}

// flags are those of seccomp(2) that a profile can ask for. TSYNC is of no use
// to a process that is about to execute its program, and old profiles name it.
var flags = [...]struct {
	name  specs.LinuxSeccompFlag
	value uint
}{
	{"SECCOMP_FILTER_FLAG_TSYNC", unix.SECCOMP_FILTER_FLAG_TSYNC},
	{specs.LinuxSeccompFlagLog, unix.SECCOMP_FILTER_FLAG_LOG},
	{specs.LinuxSeccompFlagSpecAllow, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
	{specs.LinuxSeccompFlagWaitKillableRecv, unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
}

// Flags are the names of the flags that a profile can ask for.
func Flags() []specs.LinuxSeccompFlag {
	list := make([]specs.LinuxSeccompFlag, len(flags))
	for i, f := range flags {
		list[i] = f.name
	}
	return list
}

func flagSet(names []specs.LinuxSeccompFlag) (uint, error) {
	if names == nil {
		// What runc and crun do with a profile that says nothing, rather than nothing: a program
		// that gives up some calls should not run slower for it (Spectre v4, before Linux 5.16).
		return unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, nil
	}
	var set uint
next:
	for i, name := range names {
		for _, f := range flags {
			if f.name == name {
				set |= f.value
				continue next
			}
		}
		return 0, fmt.Errorf("linux.seccomp.flags[%d]: %q: want one of %q", i, name, Flags())
	}
	return set, nil
}
