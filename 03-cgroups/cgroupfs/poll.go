//go:build linux

package cgroupfs

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// AwaitPriority returns when the kernel wakes fd's pollers with POLLPRI, as it
// does when a control file changes or a pressure trigger fires, or with ctx's
// cause when that ends first. gone says that the file is no more (POLLERR).
func AwaitPriority(ctx context.Context, fd int) (gone bool, err error) {
	// The end of ctx becomes a descriptor, so that one poll waits for both.
	cancel, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return false, os.NewSyscallError("eventfd", err)
	}
	defer unix.Close(cancel)
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		_, _ = unix.Write(cancel, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	})
	defer func() {
		if !stop() {
			<-told // the descriptor is closed after its last use
		}
	}()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}, {Fd: int32(cancel), Events: unix.POLLIN}}
	for {
		_, err = unix.Poll(fds, -1)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return false, os.NewSyscallError("poll", err)
		case fds[0].Revents != 0:
			return fds[0].Revents&unix.POLLERR != 0, nil
		default:
			return false, context.Cause(ctx)
		}
	}
}
