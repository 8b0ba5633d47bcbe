//go:build unix

package cli

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// proxied are the signals that a container in the foreground gets: all but
// those that concern this process itself. SIGURG is the Go runtime's, SIGPIPE
// and SIGCHLD are about its own files and children, SIGWINCH is told by a
// resize, and the terminal's stop signals must stop this program.
var proxied = []os.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
	syscall.SIGALRM, syscall.SIGTERM, syscall.SIGCONT, syscall.SIGIO,
}

// signalName returns the name by which the API calls sig.
func signalName(sig os.Signal) string { return unix.SignalName(sig.(syscall.Signal)) }
