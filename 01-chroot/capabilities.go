//go:build linux

package chroot

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// DropCapabilities takes all that root may and others may not from the calling
// thread and from every program that it will execute (capabilities(7)): a further
// chroot(2), mount(2) and mknod(2) among it. It is still user 0, and root's files
// are its files. The caller has locked the thread with runtime.LockOSThread and
// calls [Exec] from it. There is no way back.
func DropCapabilities(ctx context.Context) error {
	// execve gives root every capability of the bounding set: so that is emptied too.
	chapter.Call(ctx, "once for each capability: no program gets it back by execve", "prctl(PR_CAPBSET_DROP)")
	for n := uintptr(0); ; n++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, n, 0, 0, 0)
		if err == unix.EINVAL && n > unix.CAP_SETPCAP {
			break // above the last one that this kernel knows
		}
		if err != nil {
			return fmt.Errorf("drop capability %d: %w", n, os.NewSyscallError("prctl(PR_CAPBSET_DROP)", err))
		}
	}
	chapter.Call(ctx, "root without root's rights, from now on", "capset({version=_LINUX_CAPABILITY_VERSION_3, pid=0}, {effective=0, permitted=0, inheritable=0})")
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return os.NewSyscallError("capset", unix.Capset(&header, &none[0]))
}
