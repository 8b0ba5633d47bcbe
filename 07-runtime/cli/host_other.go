//go:build !linux && !windows

package cli

// defaultHost is where the virtual machine's socket is expected; see vagrant/.
const defaultHost = "unix:///var/run/drydock/drydock.sock"
