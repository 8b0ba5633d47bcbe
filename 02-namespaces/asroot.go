//go:build linux

package namespaces

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/doctor"
)

// AsRoot runs this program once more, with the arguments args, as root of a new
// user namespace, with mounts of its own, and returns its exit status as a
// shell does. It is for programs of an ordinary user that mount, and give files
// to others than their user: what they need of root, the kernel grants there.
// The ids are those of [OwnUserNamespace].
//
// It is a second process, because a program with threads, as every Go program
// is, cannot enter a new user namespace itself (user_namespaces(7)). It gets the
// signals that this one gets, and dies with it. An error says why there is no
// such namespace, and the cure; the status is 125 then.
func AsRoot(ctx context.Context, args ...string) (status int, err error) {
	uids, gids, err := ownIDs()
	if err != nil {
		return 125, err
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return 125, err
	}
	defer self.Close()
	f := &fork{
		flags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, user: &ids{}, bound: true,
		mapIDs:  func(pid int) error { return mapIDs(ctx, pid, uids, gids) },
		program: self, argv: append([]string{os.Args[0]}, args...), env: os.Environ(), files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	}
	// Its death is bound to that of the thread that makes it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	chapter.Call(ctx, "this program again: root, over what is in a user namespace of its own", "clone3({flags=CLONE_NEWUSER|CLONE_NEWNS, exit_signal=SIGCHLD})")
	signals := caught() // before there is a process, or the first of them would end only this one
	proc, err := f.start()
	if err != nil {
		signal.Stop(signals)
		return 125, fmt.Errorf("this takes root, and a user namespace, in which you would be root, cannot be had: %w", diagnosed(ctx, err))
	}
	defer forward(signals, proc.Signal)()
	state, err := proc.Wait()
	if err != nil {
		return 125, err
	}
	return shellStatus(state), nil
}

// diagnosed adds to the refusal of a user namespace what the doctor says of it.
func diagnosed(ctx context.Context, err error) error {
	r := checkUser(ctx)
	if r.Status == doctor.OK {
		return err
	}
	return fmt.Errorf("%w: %s. %s. The cure, or run it with sudo:\n\t%s", err, r.Found, strings.TrimSuffix(r.Why, "."), strings.Join(r.Cure, "\n\t"))
}
