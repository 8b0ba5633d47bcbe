package cli

import (
	"os"
	"syscall"
)

// proxied are the signals that Windows has: Ctrl-C, Ctrl-Break and the end of
// the session arrive as these two.
var proxied = []os.Signal{os.Interrupt, syscall.SIGTERM}

// signalName returns the name by which the API calls sig.
func signalName(sig os.Signal) string {
	if sig == os.Interrupt {
		return "SIGINT"
	}
	return "SIGTERM"
}
