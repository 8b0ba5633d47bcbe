//go:build linux

package seccomp

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// abis are the machine's own, first, and what its kernel may run as well.
var abis = [...]abi{
	{specs.ArchAARCH64, unix.AUDIT_ARCH_AARCH64, true, 0},
	{specs.ArchARM, unix.AUDIT_ARCH_ARM, false, 0},
}
