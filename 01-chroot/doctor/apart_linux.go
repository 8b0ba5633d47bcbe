package doctor

import (
	"context"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// flagNames are the namespaces that [Apart] can make, as strace prints them.
var flagNames = []struct {
	flag int
	name string
}{
	{unix.CLONE_NEWNS, "CLONE_NEWNS"}, {unix.CLONE_NEWUTS, "CLONE_NEWUTS"}, {unix.CLONE_NEWIPC, "CLONE_NEWIPC"},
	{unix.CLONE_NEWNET, "CLONE_NEWNET"}, {unix.CLONE_NEWPID, "CLONE_NEWPID"}, {unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"},
	{unix.CLONE_NEWTIME, "CLONE_NEWTIME"},
}

// Apart calls probe on a thread that has a root and working directory of its
// own and is in new namespaces, as the CLONE_NEW* bits of flags say; mounts in
// there do not reach the host. The thread ends with probe, the namespaces with
// the thread, and what was made in them with the namespaces: that is the undo.
//
// The error is that of unshare(2), or else probe's. Every new namespace but
// a user namespace, which a program with threads cannot enter, needs root.
func Apart(ctx context.Context, flags int, probe func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot end. While it is held here the probe gets another.
			defer runtime.UnlockOSThread()
			done <- Apart(ctx, flags, probe)
			return
		}
		// Never unlocked: the thread ends with this function.
		if err := unshare(ctx, flags); err != nil {
			done <- err
			return
		}
		done <- probe()
	}()
	return <-done
}

func unshare(ctx context.Context, flags int) error {
	names := []string{"CLONE_FS"}
	for _, f := range flagNames {
		if flags&f.flag != 0 {
			names = append(names, f.name)
		}
	}
	call := "unshare(" + strings.Join(names, "|") + ")"
	chapter.Call(ctx, "a place to try things in, which ends with its thread", "%s", call)
	if err := unix.Unshare(unix.CLONE_FS | flags); err != nil {
		return os.NewSyscallError(call, err)
	}
	if flags&unix.CLONE_NEWNS == 0 {
		return nil
	}
	chapter.Call(ctx, "no mount that is tried reaches the host", `mount("", "/", "", MS_REC|MS_PRIVATE, NULL)`)
	return os.NewSyscallError("mount / private", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
}
