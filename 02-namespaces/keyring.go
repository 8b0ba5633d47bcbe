//go:build linux

package namespaces

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// newKeyring gives the container a session keyring of its own (keyrings(7)).
// Keys are not a matter of any namespace: with the caller's keyring the
// container would have the caller's keys.
func newKeyring(p *initProcess) error {
	if p.Keyring == "" {
		return nil
	}
	chapter.Call(p.ctx, "the caller's keys stay outside: no namespace does that", "keyctl(KEYCTL_JOIN_SESSION_KEYRING, %q)", p.Keyring)
	id, err := unix.KeyctlJoinSessionKeyring(p.Keyring)
	if err == unix.ENOSYS {
		return nil // a kernel without keys
	}
	if err != nil {
		return fmt.Errorf("join session keyring %q: %w", p.Keyring, os.NewSyscallError("keyctl", err))
	}
	// Whoever execs into the container finds it by its name: the user may search it.
	const possessorAll, userView, userSearch = 0x3f000000, 0x00010000, 0x00080000
	return os.NewSyscallError("keyctl(KEYCTL_SETPERM)", unix.KeyctlSetperm(id, possessorAll|userView|userSearch))
}
