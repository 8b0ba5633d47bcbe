//go:build linux && !amd64 && !arm64

package seccomp

// Neither numbers nor the order of an argument's halves are known here:
// Compile refuses every profile.
var (
	abis     [1]abi
	syscalls [0]syscall
)
