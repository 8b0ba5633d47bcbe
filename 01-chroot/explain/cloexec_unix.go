//go:build unix

package explain

import "syscall"

// closeOnExec keeps the descriptor from the user's program, which is executed
// in this process later.
func closeOnExec(fd int) { syscall.CloseOnExec(fd) }
