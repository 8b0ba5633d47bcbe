//go:build linux

package hosttest

import (
	"bytes"
	"errors"
	"os"
)

// DisposableKernel is a kernel that is thrown away after the tests, for those
// that change what no namespace holds. User-Mode Linux, a process of another
// kernel, is always one; elsewhere DRYDOCK_DISPOSABLE_KERNEL=1 says so.
func DisposableKernel() error {
	if os.Getenv("DRYDOCK_DISPOSABLE_KERNEL") != "" {
		return nil
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil && bytes.Contains(b, []byte("User Mode Linux")) {
		return nil
	}
	return errors.New("a kernel that is thrown away afterwards (User-Mode Linux, or DRYDOCK_DISPOSABLE_KERNEL=1 says that this is one)")
}
