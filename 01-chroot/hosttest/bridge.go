//go:build linux

package hosttest

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// bridge makes or removes a bridge (ioctl SIOCBRADDBR, SIOCBRDELBR).
func bridge(s int, request uintptr, name *byte) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), request, uintptr(unsafe.Pointer(name))); errno != 0 {
		return errno
	}
	return nil
}
