//go:build linux

package namespaces

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// defaultSignals gives the program every signal's default action. What is
// handled becomes the default at execve by itself; what is ignored stays so,
// and a creator that was started by nohup(1) ignores SIGHUP.
func defaultSignals(*initProcess) error {
	// All zero is SIG_DFL, with no flags and no mask (rt_sigaction(2)).
	var action [32]byte
	for sig := 1; sig <= 64; sig++ {
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
		if errno != 0 && errno != unix.EINVAL { // SIGKILL and SIGSTOP have no other
			return os.NewSyscallError("rt_sigaction", errno)
		}
	}
	return nil
}
