//go:build unix

package cli

import "syscall"

// ownSession keeps a program apart from this terminal's signals.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
