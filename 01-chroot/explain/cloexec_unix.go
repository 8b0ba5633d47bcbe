//go:build unix

package explain

import (
	"os"
	"syscall"
)

// closeOnExec keeps the descriptor from the user's program, which is executed
// in this process later.
func closeOnExec(fd int) { syscall.CloseOnExec(fd) }

// dup returns a second descriptor of f.
func dup(f *os.File) (*os.File, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), f.Name()), nil
}
