//go:build linux

package seccomp

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// abis are the machine's own, first, and what its kernel may run as well.
var abis = [...]abi{
	{specs.ArchX86_64, unix.AUDIT_ARCH_X86_64, true, 0},
	{specs.ArchX32, unix.AUDIT_ARCH_X86_64, false, 0x4000_0000}, // __X32_SYSCALL_BIT
	{specs.ArchX86, unix.AUDIT_ARCH_I386, false, 0},
}
